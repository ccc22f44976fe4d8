"""Test doubles for the loop of your own robot: a clock, a plant and a link.

    clock = FakeClock()
    client = RobotClient(FakeLink(clock, lambda observation: observation[None, :2]), hello, clock, timeout_s=1)
    loop = ControlLoop(your_plant, client, guard, trace, Pace(clock, 100.0, 8_000_000, PreTouch(10_000, clock)))

No test then waits, and none depends on how busy the machine is.
"""

from collections import deque
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from odeploy_runtime.realtime.clock import Clock
from odeploy_runtime.robot.plant import Outcome
from odeploy_runtime.signals import Signal
from odeploy_runtime.transport import messages

_STEP_NS = 1_000_000
_ANSWER_NS = 500_000


class FakeClock:
    """Time that moves only when code sleeps.

    Attributes:
        ns: now; set it to let time pass.
        on_sleep: called with the deadline of each sleep.
    """

    def __init__(self, now_ns: int = 1_000_000_000_000) -> None:
        self.ns = now_ns
        self.on_sleep: Callable[[int], None] | None = None

    def now_ns(self) -> int:
        """Return the time."""
        return self.ns

    def sleep_until_ns(self, deadline_ns: int) -> None:
        """Jump to the deadline."""
        self.ns = max(self.ns, deadline_ns)
        if self.on_sleep is not None:
            self.on_sleep(deadline_ns)


class FakePlant:
    """A plant that senses how many ticks have run, and the seed of the episode.

    Attributes:
        takes_ns: duration of tick i where it is not 1 ms.
        reset_takes_ns: duration of a reset.
        horizon: maximum number of ticks of an episode in lockstep.
        ends_at: number of ticks after which an episode is over.
        succeeds: whether an episode that is over counts as solved.
        tick: ticks since the reset.
        seeds: seeds of the resets so far.
        commands: all that were applied. A numbers each.
        closed: whether `close` was called.
    """

    name = "toy"
    observation: tuple[Signal, ...] = (Signal("tick", "1"), Signal("seed", "1"))
    action: tuple[Signal, ...] = (Signal("a", "1", -1.0, 1.0), Signal("b", "1", -1.0, 1.0))
    safe_action = (0.0, -1.0)
    rate_hz = 100.0

    def __init__(self, clock: FakeClock, horizon: int = 10) -> None:
        self.clock = clock
        self.takes_ns: dict[int, int] = {}
        self.reset_takes_ns = 0
        self.horizon = self.ends_at = horizon
        self.succeeds = True
        self.tick = 0
        self.seeds: list[int] = []
        self.commands: list[list[float]] = []
        self.closed = False

    def reset(self, seed: int) -> None:
        """Begin an episode."""
        self.clock.ns += self.reset_takes_ns
        self.seeds.append(seed)
        self.tick = 0

    def observe(self) -> NDArray[np.float32]:
        """Return the tick and the last three digits of the seed. Shape (2,)."""
        return np.array([self.tick, self.seeds[-1] % 1000], np.float32)

    def apply(self, command: NDArray[np.float32]) -> None:
        """Let the duration of a tick pass."""
        self.clock.ns += self.takes_ns.get(self.tick, _STEP_NS)
        self.commands.append(command.tolist())
        self.tick += 1

    def outcome(self) -> Outcome:
        """Return a reward of half the ticks so far; done after `ends_at` of them."""
        over = self.tick >= self.ends_at
        return Outcome(0.5 * self.tick, over, over and self.succeeds)

    def close(self) -> None:
        """Record that it was closed."""
        self.closed = True


class FakeLink:
    """A link to a server that answers by a function, after a fixed time.

    Attributes:
        endpoint: as of any link.
        transport: as of any link.
        takes_ns: from an observation to its answer; set it beyond the deadline to miss ticks.
        ready: the answer to the handshake.
        observations: all that were received.
    """

    transport = "in process"

    def __init__(
        self,
        clock: Clock,
        policy: Callable[[NDArray[np.float32]], NDArray[np.float32]],
        horizon: int = 1,
        takes_ns: int = _ANSWER_NS,
    ) -> None:
        """Answer with `policy`. Shapes (O,) -> (H, A), H the horizon."""
        self.endpoint, self._clock, self._policy, self.takes_ns = (
            "a function in this process",
            clock,
            policy,
            takes_ns,
        )
        self.ready = messages.Ready(messages.PROTOCOL, 1, "fake", "f" * 64, 0.0, horizon)
        self.observations: list[messages.Observation] = []
        self._coming: deque[tuple[int, bytes]] = deque()  # when it arrives, and what

    def put(self, frame: bytes) -> bool:
        """Receive a frame of the robot."""
        message, now_ns = messages.unpack(frame), self._clock.now_ns()
        if isinstance(message, messages.Hello):
            self._coming.append((now_ns, messages.pack(self.ready._replace(rate_hz=message.rate_hz))))
        elif isinstance(message, messages.Observation):
            self.observations.append(message)
            values = self._policy(np.frombuffer(message.values, "<f4").copy())
            received, started, inferred, replied = (now_ns + self.takes_ns * i // 5 for i in range(1, 5))
            action = messages.Action(
                session=message.session,
                episode=message.episode,
                seq=message.seq,
                policy_epoch=0,
                status=messages.OK,
                received_ns=received,
                started_ns=started,
                inferred_ns=inferred,
                replied_ns=replied,
                values=messages.to_bytes(values),
            )
            self._coming.append((now_ns + self.takes_ns, messages.pack(action)))
        return True

    def wait(self, deadline_ns: int) -> bool:
        """Sleep until an answer arrives or the deadline passes.

        Return whether one has arrived.
        """
        if self._coming and self._coming[0][0] <= max(deadline_ns, self._clock.now_ns()):
            self._clock.sleep_until_ns(self._coming[0][0])
            return True
        self._clock.sleep_until_ns(deadline_ns)
        return False

    def take(self) -> bytes:
        """Return the answer that has arrived."""
        return self._coming.popleft()[1]

    def touch(self) -> None:
        """Do nothing: there is no socket to warm."""

    def require_alive(self) -> None:
        """Do nothing: it lives as long as this process."""

    def close(self, linger_ms: int = 0) -> None:
        """Do nothing: no frame is on its way."""
