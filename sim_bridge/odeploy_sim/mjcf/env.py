"""The simulation of an MJCF task: a `MujocoEnv` built from its table."""

from typing import Any

import numpy as np
from gymnasium.envs.mujoco import MujocoEnv
from gymnasium.spaces import Box
from numpy.typing import NDArray

from odeploy_runtime.signals import highs, lows
from odeploy_sim.environments.actuated import ActuatedEnv
from odeploy_sim.mjcf.model import ticks
from odeploy_sim.mjcf.observation import Observation
from odeploy_sim.mjcf.rewards import ended, reward, solved
from odeploy_sim.mjcf.robot import Robot
from odeploy_sim.mjcf.table import Mjcf


class MjcfEnv(MujocoEnv):
    """A robot whose action is the controls of the model's actuators."""

    metadata = {"render_modes": ["human", "rgb_array", "depth_array", "rgbd_tuple"]}  # noqa: RUF012

    def __init__(self, table: Mjcf, where: str, rate_hz: float, **arguments: Any) -> None:
        """Build the simulation.

        Args:
            table: the table, with an absolute path of the model.
            where: the task file, for errors.
            rate_hz: control rate.
            arguments: arguments of `MujocoEnv`.
        """
        self._robot = Robot(table, where)
        steps = ticks(self._robot.model, rate_hz, where)
        self._observation, self._reward = Observation(self._robot), reward(self._robot)
        self._ended, self._solved = ended(self._robot), solved(self._robot)
        space = Box(lows(self._observation.signals), highs(self._observation.signals), dtype=np.float32)
        super().__init__(table.model, frame_skip=steps, observation_space=space, **arguments)
        self.metadata = {**self.metadata, "render_fps": round(1 / self.dt)}

    def step(
        self, action: NDArray[np.floating]
    ) -> tuple[NDArray[np.float64], np.float64, bool, bool, dict[str, Any]]:
        """Step by one tick."""
        robot = self._robot
        action = np.clip(action, *self._limits)
        self.do_simulation(robot.controls(action), self.frame_skip)
        robot.advance(action, self.dt)
        if self.render_mode == "human":
            self.render()  # type: ignore[no-untyped-call]
        info = {} if self._solved is None else {"success": self._solved()}
        return self._observation.read(), np.float64(self._reward(robot.previous)), self._ended(), False, info

    def reset_model(self) -> NDArray[np.float64]:
        """Begin an episode; gymnasium calls it from `reset`."""
        self._robot.reset(self.np_random)
        return self._observation.read()

    def _initialize_simulation(self) -> tuple[Any, Any]:
        """Return the compiled model; gymnasium would read the file as it is."""
        shown = self._robot.model.vis.global_
        shown.offwidth, shown.offheight = max(shown.offwidth, self.width), max(shown.offheight, self.height)
        return self._robot.model, self._robot.data

    def _set_action_space(self) -> Box:
        """Use the limits of the action's signals."""
        self._limits = lows(self._robot.action), highs(self._robot.action)
        self.action_space = Box(*self._limits, dtype=np.float32)
        return self.action_space


class PdMjcfEnv(ActuatedEnv, MjcfEnv):
    """A robot whose action is setpoints of a PD law, the argument `actuation`."""
