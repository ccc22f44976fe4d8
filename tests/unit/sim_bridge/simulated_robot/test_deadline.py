"""The deadline that a simulation leaves for a decision."""

from typing import cast

import numpy as np
import pytest
from numpy.typing import NDArray

from odeploy_runtime.errors import UsageError
from odeploy_runtime.signals import Signal
from odeploy_runtime.testing import FakeClock
from odeploy_sim.simulated_robot.deadline import StepTime, deadline_after_due_ns, measured_step
from odeploy_sim.tasks.env import Step, TaskEnv
from odeploy_sim.tasks.task import Task

MS = 1_000_000

TASK = Task(
    name="toy",
    gym_id="Toy-v0",
    summary="slow steps",
    observation=(Signal("tick", "1"),),
    action=(Signal("a", "1", -1.0, 1.0), Signal("b", "1", -1.0, 1.0)),
    rate_hz=100.0,
    physics_step_s=None,
    horizon=10,
    safe_action=(0.0, -1.0),
    paper="none",
    differs="made for this test",
)


class SlowEnv:
    """Simulation with steps of 1, 2, ... 10 ms, and resets of 70 ms."""

    def __init__(self, clock: FakeClock) -> None:
        self.task, self.clock = TASK, clock
        self.commands: list[list[float]] = []

    def reset(self, seed: int) -> NDArray[np.float32]:
        self.clock.ns += 70 * MS
        self.tick = 0
        return np.zeros(1, np.float32)

    def step(self, action: NDArray[np.float32]) -> Step:
        self.tick += 1
        self.clock.ns += self.tick * MS
        self.commands.append(action.tolist())
        return Step(np.zeros(1, np.float32), 0.0, False, self.tick == TASK.horizon, False)


def test_the_step_time_is_measured_with_the_safe_action() -> None:
    clock = FakeClock()
    env = SlowEnv(clock)
    step = measured_step(cast(TaskEnv, env), clock)
    assert step == pytest.approx(
        (5.5 * MS, 10 * MS), rel=1e-6
    )  # without resets, which lie outside an episode's ticks
    assert len(env.commands) >= 100
    assert all(command == [0.0, -1.0] for command in env.commands)


@pytest.mark.parametrize(
    ("rate_hz", "p50_ns", "p99_ns", "left_ns"),
    [
        (100.0, MS, MS, MS),
        (3.0, 0, 0, 0),
        (100.0, MS, 4 * MS, 4 * MS),
        (100.0, MS, 30 * MS, 5 * MS),  # a busy machine
        (100.0, 7 * MS, 30 * MS, 7 * MS),
        (1000.0, 999_999, 999_999, 999_999),
    ],
)
def test_the_deadline_leaves_the_simulation_its_time(
    rate_hz: float, p50_ns: int, p99_ns: int, left_ns: int
) -> None:
    period_ns = round(1e9 / rate_hz)
    assert deadline_after_due_ns(TASK, rate_hz, StepTime(p50_ns, p99_ns)) == period_ns - left_ns


@pytest.mark.parametrize("rate_hz", [500.0, 501.0, 10_000.0])
def test_a_rate_too_high_for_the_simulation_is_refused_with_one_that_works(
    rate_hz: float,
) -> None:
    step = StepTime(2 * MS, 3 * MS)
    with pytest.raises(UsageError, match=r"toy's step of 2\.00 ms") as raised:
        deadline_after_due_ns(TASK, rate_hz, step)
    assert raised.value.remedy == "stay below 250 Hz"
    assert deadline_after_due_ns(TASK, 250.0, step) > 0
