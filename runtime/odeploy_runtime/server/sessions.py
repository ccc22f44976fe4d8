"""The register of a server's robots: who has a session, who gets one, and when one ends."""

import logging
import secrets
from collections.abc import Iterator

from odeploy_runtime.inference.policy_state import Memory
from odeploy_runtime.policy_file.manifest import Manifest
from odeploy_runtime.realtime.counters import Counters
from odeploy_runtime.server.session import Objection, Session, objection
from odeploy_runtime.transport import messages as wire

log = logging.getLogger(__name__)

FREED_AFTER_NS = 1_000_000_000
_BEGINS_WITHIN_NS = 5_000_000_000  # a robot opens its trace and begins an episode after the handshake
_MAX_SESSIONS = 2048


class Register:
    """Sessions by the identity of their connection."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._sessions: dict[bytes, Session] = {}

    def __iter__(self) -> Iterator[Session]:
        return iter(self._sessions.values())

    def __len__(self) -> int:
        return len(self._sessions)

    @property
    def full(self) -> bool:
        """Whether one more robot would have no place."""
        return len(self._sessions) >= _MAX_SESSIONS

    def get(self, identity: bytes) -> Session | None:
        """The session of a connection, if it has one."""
        return self._sessions.get(identity)

    def admit(self, identity: bytes, hello: wire.Hello, manifest: Manifest, now_ns: int) -> Session | Objection:
        """A new session for a robot that fits the policy, whose name is free and for which there is room."""
        against = objection(hello, manifest) or self._taken(identity, hello, now_ns)
        if against is not None:
            self._counters.add(f"refusals:{against.kind}")
            log.warning("refused %r: %s", hello.robot, against.reason, extra={"robot": hello.robot})
            return against
        memory = Memory(manifest, hello.seed)
        session = self._sessions[identity] = Session(identity, secrets.randbits(48), hello, memory, now_ns)
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
        """Frees a session; `kind` is its counter under `sessions_ended:`."""
        del self._sessions[session.identity]
        self._counters.add(f"sessions_ended:{kind}")
        robot = session.hello.robot
        log.info("%r freed: %s", robot, why, extra={"robot": robot})

    def end_silent(self, now_ns: int) -> None:
        """Frees those that have said nothing for 1 s; for 5 s if they have not observed anything yet."""
        for session in list(self):
            if now_ns - session.heard_ns > (FREED_AFTER_NS if session.frame else _BEGINS_WITHIN_NS):
                self.end(session, "silent", "silent")

    def renew(self, manifest: Manifest) -> None:
        """Another policy answers all of them from here on."""
        for session in self:
            session.memory.renew(manifest)

    def _taken(self, identity: bytes, hello: wire.Hello, now_ns: int) -> Objection | None:
        """Whether another robot has the name, or others all the room."""
        for other in list(self):
            if other.identity != identity and other.hello.robot == hello.robot:
                if now_ns - other.heard_ns < FREED_AFTER_NS:
                    reason = f"the robot name {hello.robot!r} is in use; choose another or end that session"
                    return Objection("name_in_use", reason)
                self.end(other, "replaced", "silent, replaced")
        if self.full and identity not in self._sessions:
            return Objection("full", f"expected at most {_MAX_SESSIONS} robots; use another server")
        return None
