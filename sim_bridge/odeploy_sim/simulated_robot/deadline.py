"""The deadline of a tick in simulation: the period minus the physics' time."""

from typing import NamedTuple

import numpy as np

from odeploy_runtime.errors import UsageError
from odeploy_runtime.realtime.clock import Clock
from odeploy_sim.tasks.env import TaskEnv
from odeploy_sim.tasks.task import Task

_STEPS_TIMED = 500


class StepTime(NamedTuple):
    """Duration of a simulation step: median and 99th percentile [ns]."""

    p50_ns: int
    p99_ns: int


def measured_step(env: TaskEnv, clock: Clock) -> StepTime:
    """Time steps with the safe action.

    Measure with the scheduling priority of the loop: beside other work, a step takes several times as long
    without it.
    """
    action, took = np.array(env.task.safe_action, np.float32), []
    env.reset(0)
    for _ in range(_STEPS_TIMED):
        start_ns = clock.now_ns()
        done = env.step(action).done
        took.append(clock.now_ns() - start_ns)
        if done:
            env.reset(0)
    return StepTime(*(int(ns) for ns in np.percentile(took, (50, 99))))


def deadline_after_due_ns(task: Task, rate_hz: float, step: StepTime) -> int:
    """Return the period minus the p99 of a step.

    If a busy machine inflated the p99, at most half the period is subtracted, but never less than the median.

    Raises:
        UsageError: the median step already fills the period.
    """
    period_ns = round(1e9 / rate_hz)
    if step.p50_ns >= period_ns:
        raise UsageError(
            where="--rate",
            expected=f"a rate at which {task.name}'s step of {step.p50_ns / 1e6:.2f} ms leaves time to decide",
            got=f"{rate_hz:g} Hz",
            remedy=f"stay below {0.5e9 / step.p50_ns:.0f} Hz",
        )
    return period_ns - min(step.p99_ns, max(step.p50_ns, period_ns // 2))
