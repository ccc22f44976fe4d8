"""A simulated task as the plant of a control loop."""

import numpy as np
from numpy.typing import NDArray

from odeploy_runtime.robot.plant import Outcome
from odeploy_sim.own_tasks.reference import resolve
from odeploy_sim.tasks.env import TaskEnv
from odeploy_sim.tasks.task import Task


class SimulatedPlant:
    """A `Plant` whose `apply` steps the physics.

    Simulated time stands still between two steps, so `observe` returns the state after the last step at whatever
    moment it is called.
    """

    def __init__(self, env: TaskEnv) -> None:
        self._env, task = env, env.task
        self.name, self.observation, self.action = task.name, task.observation, task.action
        self.safe_action, self.horizon, self.rate_hz = task.safe_action, task.horizon, task.rate_hz

    def reset(self, seed: int) -> None:
        """Begin an episode; the seed decides everything random in it."""
        self._observation = self._env.reset(seed)

    def observe(self) -> NDArray[np.float32]:
        """Return the observation after the last step. Shape (R,)."""
        return self._observation

    def apply(self, command: NDArray[np.float32]) -> None:
        """Step the physics by one tick with a command of shape (A,)."""
        self._step = step = self._env.step(command)
        self._observation = step.observation

    def outcome(self) -> Outcome:
        """Return what the last step led to."""
        step = self._step
        return Outcome(step.reward, step.done, step.success, step.invalid)

    def close(self) -> None:
        """Free the simulation."""
        self._env.close()


def make_plant(task: Task | str, *, noise_level: float = 1.0) -> SimulatedPlant:
    """Return a simulated robot for `odeploy.run`.

    Args:
        task: the task, or how a command line names it.
        noise_level: see `Task.noise`.
    """
    return SimulatedPlant(TaskEnv(resolve(task), noise_level))
