"""Multigoal: a point on a plane, and four goals equally good from its start.

The smallest task that punishes a unimodal policy: the mean of four ways leads to no goal. Modelled on the
multi-goal environment of soft Q-learning, which FMER (arXiv 2603.17685) also uses.
"""

from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.envs.mujoco import MujocoEnv
from gymnasium.spaces import Box
from numpy.typing import NDArray

GOALS_M = np.array([[5.0, 0.0], [0.0, 5.0], [-5.0, 0.0], [0.0, -5.0]])
REACHED_M = 0.5
START_STD_M = 0.1
# The walls are at 7 m and slightly soft.
EDGE_M = 7.1

ACTION_COST = 0.1
BONUS = 10.0


def goal_at(position_m: NDArray[Any]) -> int:
    """Return the index of the goal that (x, y) has reached, -1 for none."""
    distances = np.linalg.norm(GOALS_M - position_m, axis=1)
    nearest = int(distances.argmin())
    return nearest if distances[nearest] < REACHED_M else -1


class MultigoalEnv(MujocoEnv):
    """Point on a plane with four goals.

    Observation: x and y [m]. Action: velocity along each axis [2 m/s].

    Reward of a tick: minus the squared distance to the nearest goal, relative to that at the origin, minus
    `ACTION_COST` times the squared length of the action, plus `BONUS` at a goal, which ends the episode. `info`
    has `success` and `goal`, see `goal_at`.

    Args:
        noise: scale of the start's spread about the origin.
    """

    metadata = {"render_modes": ["human", "rgb_array", "depth_array", "rgbd_tuple"], "render_fps": 10}  # noqa: RUF012

    def __init__(self, noise: float = 1.0, **arguments: Any) -> None:
        self.noise = noise
        space = Box(-EDGE_M, EDGE_M, (2,), np.float64)
        model = str(Path(__file__).with_name("multigoal.xml"))
        super().__init__(model, frame_skip=10, observation_space=space, **arguments)

    def step(
        self, action: NDArray[np.float32]
    ) -> tuple[NDArray[np.float64], np.float64, bool, bool, dict[str, Any]]:
        """Step by one tick of 100 ms."""
        command = np.clip(action, -1, 1)
        self.do_simulation(command, self.frame_skip)
        position = self.data.qpos.copy()
        goal = goal_at(position)
        distance = np.linalg.norm(GOALS_M - position, axis=1).min() / np.linalg.norm(GOALS_M, axis=1).min()
        reward = BONUS * (goal >= 0) - distance**2 - ACTION_COST * float(command @ command)
        if self.render_mode == "human":
            self.render()  # type: ignore[no-untyped-call]
        return position, reward, goal >= 0, False, {"success": goal >= 0, "goal": goal}

    def reset_model(self) -> NDArray[np.float64]:
        """Place the point at rest near the origin."""
        start = self.np_random.normal(0, START_STD_M * self.noise, 2)
        self.set_state(start, self.init_qvel)  # type: ignore[no-untyped-call]
        return start
