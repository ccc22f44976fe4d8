"""`odeploy health`: a server's health over the wire; status 0 if it is ready."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
import zmq
from rich.table import Table

from odeploy_runtime.cli.server_address import server_address
from odeploy_runtime.errors import UnreachableError, UsageError
from odeploy_runtime.realtime.clock import MonotonicClock
from odeploy_runtime.reports.terminal import Terminal
from odeploy_runtime.server.health import as_json, divergence, rates, request_health
from odeploy_runtime.transport import messages
from odeploy_runtime.transport.keys import robot_keys
from odeploy_runtime.transport.sockets import connect_dealer


@dataclass(frozen=True)
class Config:
    """Print a server's policy, rates of answers and refusals, and its shadow."""

    address: Annotated[str | None, tyro.conf.Positional] = None
    """Endpoint of the server: `ipc:///path` or `tcp://host:port`."""
    server: str | None = None
    """The same address, as an option; default: ipc:///tmp/odeploy.ipc."""
    json: bool = False
    """Print one line of JSON instead of a table."""
    over: float = 0.5
    """Duration over which rates are measured [s]."""
    timeout: float = 2.0
    """Time to wait for an answer [s]."""
    key: Path | None = None
    """A secret key of `odeploy keys`, for a server that was started with `--key`."""
    server_key: Path | None = None
    """That server's public key."""


def main(arguments: list[str]) -> None:
    """Request the health twice, print it, and exit with 1 if the server is not ready."""
    config = tyro.cli(Config, args=arguments, prog="odeploy health")
    keys = robot_keys(config.key, config.server_key)
    address = server_address(config.address, config.server)
    _require_durations(config)
    clock = MonotonicClock()
    try:
        with zmq.Context[zmq.Socket[bytes]]() as context, connect_dealer(context, address, keys) as dealer:
            before = request_health(dealer, address, clock, config.timeout)
            clock.sleep_until_ns(clock.now_ns() + round(config.over * 1e9))
            now = request_health(dealer, address, clock, config.timeout)
    except UnreachableError as error:
        print(f"odeploy health: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(1)
    if config.json:
        print(json.dumps(as_json(before, now)))  # noqa: T201
    else:
        Terminal().print(table(address, before, now))
    sys.exit(0 if now.ready else 1)


def table(address: str, before: messages.Health, now: messages.Health) -> Table:
    """Return the health as a table."""
    rate = rates(before, now)
    shown = Table("", "", title=f"{address}: {'ready' if now.ready else 'NOT READY'}", title_justify="left")
    shown.add_row("policy", now.policy)
    shown.add_row("fingerprint", now.fingerprint)
    shown.add_row("policy epoch", str(now.policy_epoch))
    for epoch, fingerprint in list(enumerate(reversed(now.fingerprints)))[1:4]:
        shown.add_row(f"  epoch {now.policy_epoch - epoch}", fingerprint)
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
        shown.add_row("shadow", now.shadow)
        shown.add_row("  ticks compared / dropped", f"{now.shadow_compared:,} / {now.shadow_dropped:,}")
        for name, mean, most in divergence(now):
            shown.add_row(f"  {name}, unit scale", f"mean {mean:.2e}, max {most:.2e}")
    return shown


def _each(value: float | None, form: str) -> str:
    return "" if value is None else form.format(value)


def _require_durations(config: Config) -> None:
    if not (0 <= config.over < 1e6 and 0 < config.timeout < 1e6):
        raise UsageError(
            where="--over, --timeout",
            expected="seconds",
            got=f"{config.over:g}, {config.timeout:g}",
            remedy="leave them out for half a second and two",
        )
