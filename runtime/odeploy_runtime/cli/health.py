"""`odeploy health`: asks a server over the wire how it is, as any stranger may; status 0 if it is ready."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro
import zmq
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from odeploy_runtime.errors import UnreachableError, UsageError
from odeploy_runtime.realtime.clock import Clock, MonotonicClock
from odeploy_runtime.transport import messages as wire
from odeploy_runtime.transport.keys import RobotKeys
from odeploy_runtime.transport.sockets import DEFAULT_ENDPOINT, connect_dealer, receive


@dataclass(frozen=True)
class Config:
    """Prints how a server is: its policy, what it answers, drops and refuses, and its shadow."""

    address: Annotated[str, tyro.conf.Positional] = DEFAULT_ENDPOINT
    """Endpoint of the server."""
    json: bool = False
    """Print one line of JSON instead of a table."""
    over: float = 0.5
    """Seconds over which the rates are taken."""
    timeout: float = 2.0
    """Seconds to wait for an answer."""
    key: Path | None = None
    """A secret key, which `odeploy keys` made, for a server that asks for one."""
    server_key: Path | None = None
    """That server's public key."""


def main(arguments: list[str]) -> None:
    """Asks twice, prints, and exits with 1 where no robot could have a session now."""
    config = tyro.cli(Config, args=arguments, prog="odeploy health")
    _require_good(config)
    keys = None
    if config.key is not None and config.server_key is not None:
        keys = RobotKeys(config.key, config.server_key)
    clock = MonotonicClock()
    try:
        with zmq.Context[zmq.Socket[bytes]]() as context, connect_dealer(context, config.address, keys) as asking:
            before = ask(asking, config.address, clock, config.timeout)
            clock.sleep_until_ns(clock.now_ns() + round(config.over * 1e9))
            now = ask(asking, config.address, clock, config.timeout)
    except UnreachableError as error:
        print(f"odeploy health: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(1)
    if config.json:
        print(json.dumps(as_json(before, now)))  # noqa: T201
    else:
        Console().print(table(config.address, before, now))
    sys.exit(0 if now.ready else 1)


def ask(asking: "zmq.Socket[bytes]", address: str, clock: Clock, timeout_s: float) -> wire.Health:
    """One Ping.

    Raises:
        UnreachableError: no answer in time, or not this one.
    """
    got = "none"
    try:
        asking.setsockopt(zmq.SNDTIMEO, round(timeout_s * 1e3))
        asking.send(wire.pack(wire.Ping(wire.PROTOCOL)))
        frames = receive(asking, clock.now_ns() + round(timeout_s * 1e9), clock)
        if frames is not None:
            answer = wire.unpack(frames[0])
            if isinstance(answer, wire.Health):
                return answer
            got = f"{type(answer).__name__}"
    except zmq.Again:
        pass
    raise UnreachableError(
        where=f"server at {address}",
        expected=f"that it says how it is within {timeout_s:g} s",
        got=got,
        remedy="see whether it runs, and give the endpoint that it printed; with keys, --key and --server-key",
    )


def as_json(before: wire.Health, now: wire.Health) -> dict[str, Any]:
    """The later answer, with rates between the two and the shadow's numbers by signal."""
    fields = {k: v for k, v in now._asdict().items() if not k.startswith("shadow")} | rates(before, now)
    shadow = {
        "fingerprint": now.shadow,
        "compared": now.shadow_compared,
        "dropped": now.shadow_dropped,
        "divergence": {name: {"mean": mean, "max": most} for name, mean, most in divergence(now)},
    }
    return fields | {"shadow": shadow if now.shadow else None}


def rates(before: wire.Health, now: wire.Health) -> dict[str, float | None]:
    """Actions a second, and the mean inference; None where nothing was inferred between the two."""
    actions, passed_s = now.actions - before.actions, (now.up_ns - before.up_ns) * 1e-9
    mean_us = (now.inference_ns - before.inference_ns) / actions * 1e-3 if actions else None
    return {"actions_hz": actions / passed_s if passed_s > 0 else None, "inference_mean_us": mean_us}


def divergence(health: wire.Health) -> list[tuple[str, float, float]]:
    """(signal, mean, max) of the shadow on unit scale; empty without one."""
    mean, most = (np.frombuffer(data, "<f4").tolist() for data in (health.shadow_mean, health.shadow_max))
    return list(zip(health.signals, mean, most, strict=False))


def table(address: str, before: wire.Health, now: wire.Health) -> Table:
    """For a person."""
    rate = rates(before, now)
    shown = Table(
        "", "", title=f"{escape(address)}: {'ready' if now.ready else 'NOT READY'}", title_justify="left"
    )
    shown.add_row("policy", escape(now.policy))
    shown.add_row("fingerprint", escape(now.fingerprint))
    shown.add_row("policy epoch", str(now.policy_epoch))
    for epoch, fingerprint in list(enumerate(reversed(now.fingerprints)))[1:4]:
        shown.add_row(f"  epoch {now.policy_epoch - epoch}", escape(fingerprint))
    shown.add_row("up", f"{now.up_ns * 1e-9:,.0f} s")
    shown.add_row("sessions", str(now.sessions))
    shown.add_row("actions", f"{now.actions:,}{_each(rate['actions_hz'], ' ({:,.1f} a second)')}")
    shown.add_row("inference, mean", _each(rate["inference_mean_us"], "{:,.0f} µs") or "–")
    for name, count in (
        ("observations answered with an error", now.errors),
        ("messages dropped over the rate cap", now.dropped),
        ("robots refused", now.refusals),
        ("stream ticks missed", now.skipped),
    ):
        shown.add_row(name, f"{count:,}")
    if now.shadow:
        shown.add_row("shadow", escape(now.shadow))
        shown.add_row("  ticks compared / dropped", f"{now.shadow_compared:,} / {now.shadow_dropped:,}")
        for name, mean, most in divergence(now):
            shown.add_row(f"  {escape(name)}, unit scale", f"mean {mean:.2e}, max {most:.2e}")
    return shown


def _each(value: float | None, form: str) -> str:
    return "" if value is None else form.format(value)


def _require_good(config: Config) -> None:
    if (config.key is None) != (config.server_key is None):
        raise UsageError(
            where="--key, --server-key",
            expected="both, for a server that was started with --key; or none",
            got="one of them",
            remedy="give for example --key keys/arm.key_secret --server-key keys/server.key",
        )
    if not (0 <= config.over < 1e6 and 0 < config.timeout < 1e6):
        raise UsageError(
            where="--over, --timeout",
            expected="seconds",
            got=f"{config.over:g}, {config.timeout:g}",
            remedy="leave them out for half a second and two",
        )
