"""Health of a running server: its request, and rates and divergence in it."""

from typing import Any

import numpy as np
import zmq

from odeploy_runtime.errors import UnreachableError
from odeploy_runtime.realtime.clock import Clock
from odeploy_runtime.transport import messages
from odeploy_runtime.transport.sockets import receive


def request_health(dealer: "zmq.Socket[bytes]", address: str, clock: Clock, timeout_s: float) -> messages.Health:
    """Send one Ping and return the answer.

    Raises:
        UnreachableError: no answer in time, or another message.
    """
    got = "none"
    try:
        dealer.setsockopt(zmq.SNDTIMEO, round(timeout_s * 1e3))
        dealer.send(messages.pack(messages.Ping(messages.PROTOCOL)))
        frames = receive(dealer, clock.now_ns() + round(timeout_s * 1e9), clock)
        if frames is not None:
            answer = messages.unpack(frames[0])
            if isinstance(answer, messages.Health):
                return answer
            got = f"{type(answer).__name__}"
    except zmq.Again:
        pass
    raise UnreachableError(
        where=f"server at {address}",
        expected=f"its health within {timeout_s:g} s",
        got=got,
        remedy="check that it runs, and give the endpoint that it printed; with keys, --key and --server-key",
    )


def as_json(before: messages.Health, now: messages.Health) -> dict[str, Any]:
    """Return the later answer as JSON.

    It has the rates between the two, and the shadow's numbers by signal.
    """
    fields = {k: v for k, v in now._asdict().items() if not k.startswith("shadow")} | rates(before, now)
    shadow = {
        "fingerprint": now.shadow,
        "compared": now.shadow_compared,
        "dropped": now.shadow_dropped,
        "divergence": {name: {"mean": mean, "max": most} for name, mean, most in divergence(now)},
    }
    return fields | {"shadow": shadow if now.shadow else None}


def rates(before: messages.Health, now: messages.Health) -> dict[str, float | None]:
    """Return actions a second and the mean inference time.

    Return None without any inference between the two.
    """
    actions, passed_s = now.actions - before.actions, (now.up_ns - before.up_ns) * 1e-9
    mean_us = (now.inference_ns - before.inference_ns) / actions * 1e-3 if actions else None
    return {"actions_hz": actions / passed_s if passed_s > 0 else None, "inference_mean_us": mean_us}


def divergence(health: messages.Health) -> list[tuple[str, float, float]]:
    """Return (signal, mean, max) of the shadow's divergence, unit scale.

    The list is empty without a shadow.
    """
    mean, most = (np.frombuffer(data, "<f4").tolist() for data in (health.shadow_mean, health.shadow_max))
    return list(zip(health.signals, mean, most, strict=False))
