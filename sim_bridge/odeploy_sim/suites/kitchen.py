"""Kitchen: gymnasium-robotics' FrankaKitchen with a flat observation, one noise level, and success by name.

The original answers dictionaries within a dictionary, whose goals never change, and says of success only which
sub-tasks are left. What is simulated and rewarded is the original's.
"""

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium_robotics.envs.franka_kitchen import KitchenEnv
from numpy.typing import NDArray

ROBOT_NOISE, OBJECT_NOISE = 0.01, 0.0005  # the original's defaults


class FlatKitchenEnv(gymnasium.Env[NDArray[np.float64], NDArray[np.float32]]):
    """Reward of a tick: how many of the chosen sub-tasks it completed; each counts once an episode.

    The episode ends when all are completed. `info` has `success`, and the original's lists of sub-tasks.

    Args:
        subtasks: names as the original has them.
        noise: scales the noise of the sensors, which the arm's controller sees too; the start is always the same.
        render_mode: as gymnasium has it.
        arguments: of the original.
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
        """Begins an episode."""
        super().reset(seed=seed)
        observation, info = self.inside.reset(seed=seed, options=options)
        return observation["observation"], info

    def step(self, action: NDArray[np.float32]) -> tuple[NDArray[np.float64], float, bool, bool, dict[str, Any]]:
        """One tick of 80 ms."""
        observation, reward, terminated, truncated, info = self.inside.step(action)
        success = not self.inside.tasks_to_complete
        # The original hands out its own list, which it clears at the next reset.
        done = {"success": success, "episode_task_completions": list(info["episode_task_completions"])}
        return observation["observation"], reward, terminated, truncated, info | done

    def render(self) -> Any:
        """One frame."""
        return self.inside.render()

    def close(self) -> None:
        """Frees the simulation."""
        self.inside.close()
