"""A peer's robot: paced ticks on request, and the durations of their round trips.

It runs in the peer's environment and needs NumPy and ONNX Runtime alone.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from odeploy_runtime.inference.onnx_policy import OnnxPolicy
from odeploy_runtime.realtime.clock import MonotonicClock, Rate
from odeploy_runtime.realtime.scheduling import real_time

Floats = NDArray[np.float32]
READY = "ready"
OBSERVATIONS = 64

CLOCK = MonotonicClock()


class Link(Protocol):
    """The robot's end of a peer."""

    def begin(self, rate_hz: float) -> None:
        """Prepare a turn at this rate; not timed."""

    def before(self, due_ns: int, period_ns: int) -> None:
        """Use the idle time before a tick."""

    def answer(self, observation: Floats) -> Floats:
        """Return the action (A,) for an observation (O,); timed."""

    def end(self) -> None:
        """End a turn; not timed."""


class PlainLink:
    """A robot's end that needs no preparation."""

    def begin(self, rate_hz: float) -> None:
        """Do nothing."""

    def before(self, due_ns: int, period_ns: int) -> None:
        """Do nothing."""

    def end(self) -> None:
        """Do nothing."""


class InProcess(PlainLink):
    """A function in the robot's own process."""

    def __init__(self, answer: Callable[[Floats], Floats]) -> None:
        self._answer = answer

    def answer(self, observation: Floats) -> Floats:
        """Call the function."""
        return self._answer(observation)


def onnx_runtime(file: str) -> Callable[[Floats], Floats]:
    """Return a policy's first action (A,) as a function of the observation, by odeploy's own session."""
    policy = OnnxPolicy.load(Path(file))
    noise = np.zeros((1, *policy.manifest.noise.shape), np.float32)

    def answer(observation: Floats) -> Floats:
        action: Floats = policy.infer(observation, noise)[0]
        return action

    answer(np.zeros(len(policy.manifest.observation), np.float32))
    return answer


def serve_until_killed(announce: Callable[[], object]) -> None:
    """Report that the server is there, and serve."""
    print(READY, flush=True)
    announce()


def drive(link: Link, observation_size: int) -> None:
    """Run turns that standard input requests, until it ends.

    A request is a line of JSON, [rate in Hz, ticks]; so is the answer, {"ns": durations, "actions": actions}.
    """
    observations = np.random.default_rng(0).uniform(-1, 1, (OBSERVATIONS, observation_size)).astype(np.float32)
    print(READY, flush=True)
    with real_time():
        for line in sys.stdin:
            rate_hz, ticks = json.loads(line)
            print(json.dumps(turn(link, observations, rate_hz, ticks)), flush=True)


def turn(link: Link, observations: Floats, rate_hz: float, ticks: int) -> dict[str, list[int] | list[list[float]]]:
    """Return the round trips [ns] and the actions of some paced ticks."""
    took, actions = np.zeros(ticks, np.int64), []
    link.begin(rate_hz)
    rate = Rate(rate_hz, CLOCK)
    for i in range(ticks):
        observation = observations[i % OBSERVATIONS]
        rate.wait(lambda due_ns: link.before(due_ns, rate.period_ns))
        start_ns = CLOCK.now_ns()
        action = link.answer(observation)
        took[i] = CLOCK.now_ns() - start_ns
        actions.append(action.tolist())
    link.end()
    return {"ns": took.tolist(), "actions": actions[:OBSERVATIONS]}
