"""The session table: admission, the robots' sessions, and their ends."""

import logging
import secrets
from collections.abc import Iterator
from typing import NamedTuple

from odeploy_runtime.errors import ContractError
from odeploy_runtime.inference.policy_state import PolicyState
from odeploy_runtime.policy_file.manifest import Manifest
from odeploy_runtime.realtime.counters import Counters
from odeploy_runtime.server.load import Load
from odeploy_runtime.server.session import Session
from odeploy_runtime.signals import require_same_names
from odeploy_runtime.transport import messages

log = logging.getLogger(__name__)

_MAX_SESSIONS = 2048
_MIN_RATE_HZ = {"request": 0.01, "stream": 1}  # requests may come once per chunk; a stream's rate is of ticks
_MAX_RATE_HZ = 10_000
_MAX_NAME = 128
_MAX_NAMES = 1024  # comparing all that a frame can hold would take longer than a tick


class Refusal(NamedTuple):
    """Reason for which a robot gets no session.

    It is the counter under `refusals:`, and one line of text.
    """

    kind: str
    reason: str


class Sessions:
    """Sessions by the identity of their connection."""

    def __init__(self, counters: Counters, load: Load) -> None:
        """Begin without sessions.

        Args:
            counters: named as in `SERVER`.
            load: gets the rate of all streams, and limits it.
        """
        self._counters, self._load = counters, load
        self._sessions: dict[bytes, Session] = {}

    def __iter__(self) -> Iterator[Session]:
        return iter(self._sessions.values())

    def __contains__(self, identity: object) -> bool:
        return identity in self._sessions

    def __len__(self) -> int:
        return len(self._sessions)

    @property
    def full(self) -> bool:
        """Whether there is no room for one more robot."""
        return len(self._sessions) >= _MAX_SESSIONS

    def get(self, identity: bytes) -> Session | None:
        """Return the session of a connection; None if it has none."""
        return self._sessions.get(identity)

    def admit(self, identity: bytes, hello: messages.Hello, manifest: Manifest, now_ns: int) -> Session | Refusal:
        """Open a session for a robot that fits the policy, if there is room for it."""
        refused = contract_refusal(hello, manifest) or self._occupied(identity, hello, now_ns)
        if refused is not None:
            self._counters.add(f"refusals:{refused.kind}")
            log.warning("refused %r: %s", hello.robot, refused.reason, extra={"robot": hello.robot})
            return refused
        state = PolicyState(manifest, hello.seed)
        session = self._sessions[identity] = Session(identity, secrets.randbits(48), hello, state, now_ns)
        self._load.streams_hz = self._streams_hz()
        self._counters.add("sessions_opened")
        log.info(
            "%r connected: %s, %g Hz, %s",
            hello.robot,
            hello.task,
            hello.rate_hz,
            hello.mode,
            extra={"robot": hello.robot},
        )
        return session

    def end(self, session: Session, kind: str, why: str) -> None:
        """Free a session; `kind` is its counter under `sessions_ended:`."""
        del self._sessions[session.identity]
        self._counters.add(f"sessions_ended:{kind}")
        robot = session.hello.robot
        log.info("%r freed: %s", robot, why, extra={"robot": robot})

    def end_silent(self, now_ns: int) -> None:
        """Free the sessions of silent robots."""
        for session in list(self):
            if session.is_silent(now_ns):
                self.end(session, "silent", "silent")
        self._load.streams_hz = self._streams_hz()

    def renew(self, manifest: Manifest) -> None:
        """Continue all sessions with another policy."""
        for session in self:
            session.state.renew(manifest)

    def _occupied(self, identity: bytes, hello: messages.Hello, now_ns: int) -> Refusal | None:
        """Return why the robot cannot be admitted: name in use, full, or too much load."""
        for other in list(self):
            if other.identity != identity and other.hello.robot == hello.robot:
                if not other.is_silent(now_ns):
                    # Clients recognise this refusal, which passes by itself, by its first words.
                    reason = f"the robot name is in use: {hello.robot!r}; choose another or end that session"
                    return Refusal("name_in_use", reason)
                self.end(other, "replaced", "silent, replaced")
        if self.full and identity not in self._sessions:
            return Refusal("full", f"expected at most {_MAX_SESSIONS} robots; use another server")
        if hello.mode == "stream":
            too_much = self._load.refusal(self._streams_hz(besides=identity) + hello.rate_hz)
            if too_much is not None:
                return Refusal("full", too_much)
        return None

    def _streams_hz(self, besides: bytes = b"") -> float:
        """Return the total rate of the streams, without that of one connection."""
        return sum(s.hello.rate_hz for s in self if s.hello.mode == "stream" and s.identity != besides)


def contract_refusal(hello: messages.Hello, manifest: Manifest) -> Refusal | None:
    """Return why a robot does not fit a policy; None if it fits."""
    if hello.protocol != messages.PROTOCOL:
        reason = f"expected protocol {messages.PROTOCOL}, got {hello.protocol}; use the same release on both sides"
        return Refusal("protocol", reason)
    if not 1 <= len(hello.robot) <= _MAX_NAME or not hello.robot.isprintable():
        named = f"a robot name of 1 to {_MAX_NAME} printable characters"
        return Refusal("name", f"expected {named}, got {hello.robot[:_MAX_NAME]!r}; choose another name")
    if hello.mode not in _MIN_RATE_HZ:
        reason = f"expected mode request or stream, got {hello.mode[:20]!r}; use one of these"
        return Refusal("mode", reason)
    least_hz = _MIN_RATE_HZ[hello.mode]
    if not least_hz <= hello.rate_hz <= _MAX_RATE_HZ:
        bounds = f"{least_hz:g} to {_MAX_RATE_HZ} Hz"
        return Refusal("rate", f"expected a rate of {bounds}, got {hello.rate_hz:g}; choose another rate")
    if hello.task not in ("", manifest.task):
        reason = f"expected task {manifest.task!r}, got {hello.task[:100]!r}; serve a policy for the robot's task"
        return Refusal("task", reason)
    most = max(len(hello.observation), len(hello.action))
    if most > _MAX_NAMES:
        return Refusal("signals", f"expected at most {_MAX_NAMES} signals, got {most}; send only the policy's")
    try:
        require_same_names(manifest.raw_names, hello.observation, "observation")
        require_same_names(manifest.action_names, hello.action, "action")
    except ContractError as error:
        return Refusal("signals", str(error))
    return None
