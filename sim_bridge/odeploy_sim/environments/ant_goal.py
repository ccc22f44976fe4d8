"""Ant-goal: MuJoCo's ant runs to a point on a half circle of radius 5 m.

It has 50 ticks of 50 ms.

Modelled on Ant-goal of FM-IRL (arXiv 2510.09222). An average speed of 2 m/s is enough.
"""

from typing import Any

import mujoco
import numpy as np
from gymnasium.envs.mujoco.ant_v5 import AntEnv
from gymnasium.spaces import Box
from gymnasium.utils import EzPickle
from numpy.typing import NDArray

RADIUS_M = 5.0
REACHED_M = 0.5


class AntGoalEnv(AntEnv):
    """Ant that runs to a goal.

    Observation: position (15), velocity (14), goal x and y.

    Reward of a tick: decrease of the distance to the goal [m], plus `arrival_bonus` [m] at the goal, which can
    teach an expert to hurry.

    The episode ends as soon as the torso is within 0.5 m of the goal. An ant on its back has until the horizon to
    get up.
    """

    goal: NDArray[np.float64] = np.zeros(2)

    def __init__(self, arrival_bonus: float = 0.0, **arguments: Any) -> None:
        self.arrival_bonus = arrival_bonus
        super().__init__(
            exclude_current_positions_from_observation=False,
            include_cfrc_ext_in_observation=False,
            **arguments,
        )
        # Again, since the base stores arguments that this class does not have.
        EzPickle.__init__(self, arrival_bonus, **arguments)
        size = self.model.nq + self.model.nv + 2
        self.observation_space = Box(-np.inf, np.inf, (size,), np.float64)

    def step(
        self, action: NDArray[np.float32]
    ) -> tuple[NDArray[np.float64], np.float64, bool, bool, dict[str, Any]]:
        """Step by one tick of 50 ms."""
        before = self._distance_m()
        self.do_simulation(action, self.frame_skip)
        after = self._distance_m()
        success = after < REACHED_M
        if self.render_mode == "human":
            self.render()  # type: ignore[no-untyped-call]
        return (
            self._get_obs(),
            np.float64(before - after + self.arrival_bonus * success),
            success,
            False,
            {"success": success, "distance_m": after},
        )

    def reset_model(self) -> NDArray[np.float64]:
        """Place the ant at the origin, up to noise, and draw a goal."""
        angle = self.np_random.uniform(0, np.pi)
        self.goal = RADIUS_M * np.array([np.cos(angle), np.sin(angle)])
        self.model.site("goal").pos[:2] = self.goal
        super().reset_model()  # type: ignore[no-untyped-call]
        return self._get_obs()

    def _initialize_simulation(self) -> tuple[Any, Any]:
        """Load the ant's model, with a mark at the goal and a camera for films."""
        model = mujoco.MjSpec.from_file(self.fullpath)
        model.worldbody.add_site(name="goal", pos=[RADIUS_M, 0, 0], size=[REACHED_M] * 3, rgba=[0, 0.8, 0, 0.4])
        tilt = np.arctan2(10, 8) / 2  # from straight down, about x: it sees the ant and two metres behind it
        model.worldbody.add_camera(name="field", pos=[0, -8, 8], quat=[np.cos(tilt), np.sin(tilt), 0, 0])
        compiled = model.compile()
        compiled.vis.global_.offwidth, compiled.vis.global_.offheight = self.width, self.height
        return compiled, mujoco.MjData(compiled)

    def _get_obs(self) -> NDArray[np.float64]:
        return np.concatenate([self.data.qpos, self.data.qvel, self.goal])

    def _distance_m(self) -> float:
        return float(np.linalg.norm(self.data.qpos[:2] - self.goal))
