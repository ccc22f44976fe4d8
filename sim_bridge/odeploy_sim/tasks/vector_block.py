"""A block of simulations, stepped in turn over rows shared with the vector.

A vector in one process and one with workers run the same code, so their results are identical bit by bit.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from odeploy_sim.tasks.env import TaskEnv, episode_seed
from odeploy_sim.tasks.task import Task


def row_type(task: Task) -> np.dtype[np.void]:
    """Return the type of a row: all data exchanged for one environment.

    `episode` is the number of the current episode. No other environment of the vector ever has the same, so
    `episode_seed` gives each episode its own random numbers.
    """
    O, A = len(task.observation), len(task.action)  # noqa: E741
    fields = [
        ("action", np.float32, (A,)),
        ("observation", np.float32, (O,)),
        ("final_observation", np.float32, (O,)),
        ("reward", np.float64),
        ("seed", np.uint64),
        ("episode", np.int64),
        ("terminated", np.bool_),
        ("truncated", np.bool_),
        ("success", np.bool_),
        ("invalid", np.bool_),
    ]
    return np.dtype(fields, align=True)


class Block:
    """Simulations of a task that read actions from rows and write their results there.

    Args:
        task: the task.
        noise_level: see `Task.noise`.
        arguments: keyword arguments of the environment that override the task's.
        rows: one row of `row_type` for each simulation of this block.
        stride: number of environments of the whole vector, by which each one's episode number advances.
    """

    def __init__(
        self, task: Task, noise_level: float, arguments: Mapping[str, Any], rows: NDArray[np.void], stride: int
    ) -> None:
        self._envs = [TaskEnv(task, noise_level, **arguments) for _ in rows]
        self._stride = stride
        self._action, self._observation = rows["action"], rows["observation"]
        self._final_observation, self._reward = rows["final_observation"], rows["reward"]
        self._seed, self._episode = rows["seed"], rows["episode"]
        self._terminated, self._truncated = rows["terminated"], rows["truncated"]
        self._success, self._invalid = rows["success"], rows["invalid"]

    def reset(self) -> None:
        """Begin the episode of each row."""
        for i in range(len(self._envs)):
            self._begin_episode(i)

    def step(self) -> None:
        """Step every row by one tick; where an episode ends, begin the next one at once."""
        actions = self._action.copy()  # an environment may keep its action, and the rows are soon overwritten
        for i, env in enumerate(self._envs):
            step = env.step(actions[i])
            self._reward[i] = step.reward
            self._terminated[i], self._truncated[i] = step.terminated, step.truncated
            self._success[i], self._invalid[i] = step.success, step.invalid
            if step.done:
                self._final_observation[i] = step.observation
                self._episode[i] += self._stride
                self._begin_episode(i)
            else:
                self._observation[i] = step.observation

    def close(self) -> None:
        """Free the simulations."""
        for env in self._envs:
            env.close()

    def _begin_episode(self, i: int) -> None:
        self._observation[i] = self._envs[i].reset(episode_seed(int(self._seed[i]), int(self._episode[i])))
