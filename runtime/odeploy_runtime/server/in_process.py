"""A server without a socket, in the robot's own process.

No network lies between sensing and acting.

Frames go through the same checks, sessions and noise as over a socket, so a robot behaves the same; only the
transport is saved. In return an inference that hangs also hangs the robot: its watchdog is no longer a process
of its own. There is no second client, no hot swap, no health check and no stream, which a server's own loop
would tick.
"""

from collections import deque

from odeploy_runtime.hot_swap.slot import PolicySlot
from odeploy_runtime.inference.policy import Policy
from odeploy_runtime.realtime.clock import Clock
from odeploy_runtime.realtime.counters import SERVER, Counters
from odeploy_runtime.server.options import ServerOptions
from odeploy_runtime.server.service import Service

_ROBOT = b"robot"


class InProcessLink:
    """A `Link` to a policy that answers at once.

    Attributes:
        endpoint: name of the policy, for messages.
    """

    transport = "in process"

    def __init__(self, policy: Policy, clock: Clock) -> None:
        self.endpoint = f"{policy.manifest.name} in this process"
        self._clock = clock
        self._waiting: deque[bytes] = deque()
        options = ServerOptions(pre_touch=False)  # the robot's loop calls `touch`
        self._service = Service(PolicySlot(policy), options, clock, Counters(SERVER), self._store)

    def put(self, frame: bytes) -> bool:
        """Answer a frame; the reply is there when this returns."""
        self._service.receive(_ROBOT, frame, self._clock.now_ns())
        return True

    def wait(self, deadline_ns: int) -> bool:
        """Return whether `take` has a frame.

        Without one, sleep until the deadline, since none will come.
        """
        if not self._waiting:
            self._clock.sleep_until_ns(deadline_ns)
        return bool(self._waiting)

    def take(self) -> bytes:
        """Return the next reply."""
        return self._waiting.popleft()

    def touch(self) -> None:
        """Make a pre-touch run, as a server does ahead of its robot's message."""
        for session in self._service.sessions:
            if session.frame:
                self._service.pre_touch_run(session)

    def require_alive(self) -> None:
        """Do nothing: the link lives as long as this process."""

    def close(self, linger_ms: int = 0) -> None:
        """Do nothing: no frame is under way."""

    def _store(self, _: bytes, frame: bytes) -> None:
        self._waiting.append(frame)
