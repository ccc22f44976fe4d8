"""Kitchen: gymnasium-robotics' FrankaKitchen with a flat observation.

It also has one noise level, and success by name.

The original's observation is a nested dictionary with goals that never change, and its `info` has no success but a
list of the remaining sub-tasks. Simulation and rewards are the original's.
"""

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium_robotics.envs.franka_kitchen import KitchenEnv
from numpy.typing import NDArray

ROBOT_NOISE, OBJECT_NOISE = 0.01, 0.0005  # the original's defaults


class FlatKitchenEnv(gymnasium.Env[NDArray[np.float64], NDArray[np.float32]]):
    """The kitchen. Reward of a tick: number of chosen sub-tasks that it completed.

    Each counts once an episode.

    The episode ends when all are completed. `info` has `success`, and the original's lists of sub-tasks.

    Args:
        subtasks: the original's names of the sub-tasks.
        noise: scale of the sensors' noise, which the arm's controller also receives; the start is always the same.
        render_mode: gymnasium's render mode.
        arguments: further arguments of the original.
    """

    metadata = KitchenEnv.metadata

    def __init__(
        self, subtasks: Sequence[str], noise: float = 1.0, render_mode: str | None = None, **arguments: Any
    ) -> None:
        self.render_mode = render_mode
        self.inside = KitchenEnv(
            list(subtasks),
            robot_noise_ratio=ROBOT_NOISE * noise,
            object_noise_ratio=OBJECT_NOISE * noise,
            render_mode=render_mode,
            **arguments,
        )
        self.model, self.data = self.inside.model, self.inside.data
        self.observation_space = self.inside.observation_space["observation"]
        self.action_space = self.inside.action_space

    def reset(
        self,
        *,
        seed: int | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[NDArray[np.float64], dict[str, Any]]:
        """Begin an episode."""
        super().reset(seed=seed)
        observation, info = self.inside.reset(seed=seed, options=options)
        return observation["observation"], info

    def step(self, action: NDArray[np.float32]) -> tuple[NDArray[np.float64], float, bool, bool, dict[str, Any]]:
        """Step by one tick of 80 ms."""
        observation, reward, terminated, truncated, info = self.inside.step(action)
        success = not self.inside.tasks_to_complete
        # The original returns its own list, which it clears at the next reset.
        done = {"success": success, "episode_task_completions": list(info["episode_task_completions"])}
        return observation["observation"], reward, terminated, truncated, info | done

    def render(self) -> Any:
        """Render a frame."""
        return self.inside.render()

    def close(self) -> None:
        """Free the simulation."""
        self.inside.close()
