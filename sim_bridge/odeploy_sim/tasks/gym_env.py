"""A task as a plain gymnasium environment, for other training libraries."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray

from odeploy_runtime.signals import highs, lows
from odeploy_sim.tasks.env import TaskEnv
from odeploy_sim.tasks.task import Task


class FlatEnv(gymnasium.Env[NDArray[np.float32], NDArray[np.float32]]):
    """`TaskEnv` with gymnasium's interface; observations and actions are flat float32.

    `info` has `success` and `invalid`. A reset without a seed continues the previous reset's random numbers.
    """

    def __init__(self, task: Task, noise_level: float = 1.0, **arguments: Any) -> None:
        self.inside = TaskEnv(task, noise_level, **arguments)
        self.observation_space = Box(lows(task.observation), highs(task.observation), dtype=np.float32)
        self.action_space = Box(lows(task.action), highs(task.action), dtype=np.float32)

    def reset(
        self,
        *,
        seed: int | None = None,
        options: dict[str, Any] | None = None,  # noqa: ARG002
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Begin an episode."""
        super().reset(seed=seed)
        return self.inside.reset(int(self.np_random.integers(2**32))), {}

    def step(self, action: NDArray[np.float32]) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Step by one tick."""
        s = self.inside.step(action)
        return s.observation, s.reward, s.terminated, s.truncated, {"success": s.success, "invalid": s.invalid}

    def close(self) -> None:
        """Free the simulation."""
        self.inside.close()
