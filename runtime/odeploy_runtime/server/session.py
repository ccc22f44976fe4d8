"""One robot's session with the server: what is known of it, and whether a robot gets one at all."""

from dataclasses import dataclass, field
from typing import NamedTuple

from odeploy_runtime.errors import ContractError
from odeploy_runtime.inference.policy_state import Memory
from odeploy_runtime.policy_file.manifest import Manifest
from odeploy_runtime.realtime.pretouch import Arrivals
from odeploy_runtime.signals import require_same_names
from odeploy_runtime.transport import messages as wire

_MIN_RATE_HZ, _MAX_RATE_HZ = 1, 10_000  # below, a session would be freed between two ticks
_MAX_NAMES = 1024  # comparing all that a frame can hold would take longer than a tick


@dataclass
class Session:
    """One robot's session.

    Attributes:
        identity: of its connection.
        number: of the session.
        hello: as the robot introduced itself.
        memory: what the policy's answers depend on besides its observations.
        heard_ns: when its last message came.
        frame: its last observation as it came, to rehearse with.
        arrivals: predicts its next observation.
        touch_ns: when to pre-touch for its next observation; None for not again before it.
        due_ns: in stream mode, when the next action is due; None before the first observation.
        latest: in stream mode, the newest observation and when it came.
    """

    identity: bytes
    number: int
    hello: wire.Hello
    memory: Memory
    heard_ns: int
    frame: bytes = b""
    arrivals: Arrivals = field(default_factory=Arrivals)
    touch_ns: int | None = None
    due_ns: int | None = None
    latest: tuple[wire.Observation, int] | None = None

    @property
    def period_ns(self) -> int:
        """T as the robot asked for."""
        return round(1e9 / self.hello.rate_hz)


class Objection(NamedTuple):
    """Why a robot gets no session: the counter under `refusals:`, and the reason in one line."""

    kind: str
    reason: str


def objection(hello: wire.Hello, manifest: Manifest) -> Objection | None:
    """What speaks against a robot for this policy; None if it fits."""
    if hello.protocol != wire.PROTOCOL:
        reason = f"expected protocol {wire.PROTOCOL}, got {hello.protocol}; use the same release on both sides"
        return Objection("protocol", reason)
    if not _MIN_RATE_HZ <= hello.rate_hz <= _MAX_RATE_HZ:
        bounds = f"{_MIN_RATE_HZ} to {_MAX_RATE_HZ} Hz"
        return Objection("rate", f"expected a rate of {bounds}, got {hello.rate_hz:g}; ask for another rate")
    if hello.mode not in ("request", "stream"):
        reason = f"expected mode request or stream, got {hello.mode[:20]!r}; ask for one of these"
        return Objection("mode", reason)
    most = max(len(hello.observation), len(hello.action))
    if most > _MAX_NAMES:
        return Objection("signals", f"expected at most {_MAX_NAMES} signals, got {most}; name the policy's alone")
    try:
        require_same_names(manifest.raw_names, hello.observation, "observation")
        require_same_names(manifest.action_names, hello.action, "action")
    except ContractError as error:
        return Objection("signals", str(error))
    return None
