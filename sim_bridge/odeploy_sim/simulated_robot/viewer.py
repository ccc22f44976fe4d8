"""A simulation in MuJoCo's own viewer, on a machine with a display.

The viewer's thread shares the interpreter with the loop, so watch the robot with it and measure without.
"""

import os
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from odeploy_runtime.errors import MissingError, UsageError
from odeploy_sim.tasks.env import Step, TaskEnv
from odeploy_sim.tasks.task import Task


class ViewedEnv(TaskEnv):
    """A `TaskEnv` in a window, redrawn after each reset and step."""

    def __init__(self, task: Task, noise_level: float = 1.0, **arguments: Any) -> None:
        """Open the window; arguments are those of a `TaskEnv`.

        Raises:
            MissingError: there is no display.
            UsageError: the task is not a MuJoCo simulation.
        """
        if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
            raise MissingError(
                where="--view",
                expected="a display",
                got="neither DISPLAY nor WAYLAND_DISPLAY in the environment",
                remedy="film instead: --video run.mp4",
            )
        super().__init__(task, noise_level, **arguments)
        if self._data is None:
            raise UsageError(
                where="--view",
                expected="a task that MuJoCo simulates",
                got=task.name,
                remedy="film instead: --video run.mp4",
            )
        import mujoco.viewer  # loads a window system

        self._viewer = mujoco.viewer.launch_passive(self._data.model, self._data)

    def reset(self, seed: int) -> NDArray[np.float32]:
        """Begin an episode and draw it."""
        observation = super().reset(seed)
        if hasattr(self, "_viewer"):  # not yet while the simulation is built
            self._viewer.sync()
        return observation

    def step(self, action: NDArray[np.float32]) -> Step:
        """Step by one tick and draw it."""
        step = super().step(action)
        self._viewer.sync()
        return step

    def close(self) -> None:
        """Close the window and free the simulation."""
        self._viewer.close()
        super().close()
