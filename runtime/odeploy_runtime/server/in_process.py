"""A server without a socket, in the robot's own process: no network between sensing and acting.

The same frames go through the same checks, sessions and noise as over a socket, so a robot behaves alike; what is
saved is the way. In return an inference that hangs hangs the robot: the watchdog is no longer outside of what it
watches. Nobody else can connect, swap or ask how it is, and there are no streams, which are ticked by a server's
own loop.
"""

from collections import deque

from odeploy_runtime.inference.onnx_policy import Policy
from odeploy_runtime.realtime.clock import Clock
from odeploy_runtime.realtime.counters import SERVER, Counters
from odeploy_runtime.server.service import Service

_ROBOT = b"robot"


class InProcessLink:
    """A link, see `odeploy_runtime.transport.link.Link`, to a policy that answers at once.

    Attributes:
        endpoint: says so.
    """

    def __init__(self, policy: Policy, clock: Clock) -> None:
        self.endpoint = f"{policy.manifest.name} in this process"
        self._clock = clock
        self._waiting: deque[bytes] = deque()
        self._service = Service(policy, clock, None, Counters(SERVER), self._hand)

    def put(self, frame: bytes) -> bool:
        """Has a frame answered; returns when it is."""
        self._service.hear(_ROBOT, frame, self._clock.now_ns())
        return True

    def wait(self, deadline_ns: int) -> bool:
        """Whether `take` has something; what is not there now will not come."""
        if not self._waiting:
            self._clock.sleep_until_ns(deadline_ns)
        return bool(self._waiting)

    def take(self) -> bytes:
        """The next answer."""
        return self._waiting.popleft()

    def touch(self) -> None:
        """Rehearses what is asked next, as a server does ahead of its robot's message."""
        for session in self._service.robots:
            if session.frame:
                self._service.rehearse(session)

    def require_alive(self) -> None:
        """Lives and dies with this process."""

    def close(self, linger_ms: int = 0) -> None:
        """Nothing is under way."""

    def _hand(self, _: bytes, frame: bytes) -> None:
        self._waiting.append(frame)
