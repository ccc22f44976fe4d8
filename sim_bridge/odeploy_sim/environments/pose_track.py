"""Pose-track: a person in a plane follows a moving pose, observed in part.

Modelled on the humanoid experiment of FPO (arXiv 2507.21053), where goals for all joints, for root and hands, or
for the root alone separate flow policies from Gaussian ones. The size fits two CPU cores: 11 joints in a plane
instead of a humanoid in space, and sixteen kinds of drawn motions (`motions`) instead of motion capture. Reward,
early end and success concern the whole pose, however little of it is observed. That is our choice, as are their
numbers.

A policy must guess the points that it does not observe. While the arms are up, the robot's own arms and setpoints
identify the motion; once a cycle, when everything hangs down, they hardly do. A policy without memory can carry
this information only in its own pose.
"""

from pathlib import Path
from typing import Any, Literal

import mujoco
import numpy as np
from gymnasium.envs.mujoco import MujocoEnv
from gymnasium.spaces import Box
from numpy.typing import NDArray

from odeploy_sim.environments.motions import draw

Array = NDArray[np.float64]
Told = Literal["all", "root-hands", "root"]

TICK_S, TICKS = 0.04, 100
RATES_RAD_S = np.array([2.0, 5.0, 4.0, 5.0, 4.0, *(3.0,) * 6], np.float32)
"""Largest speeds of the setpoints: abdomen, shoulder and elbow of either arm, and the legs."""
FAR_M = 0.12
"""Mean distance of the points from the reference that ends an episode."""
_SHARP_M = 0.1

_ARMS = "left_elbow", "left_hand", "right_elbow", "right_hand"
_LEGS = "left_knee", "left_foot", "right_knee", "right_foot"
POINTS = ("pelvis", "head", *_ARMS, *_LEGS)
TOLD: dict[Told, tuple[str, ...]] = {
    "all": POINTS,
    "root-hands": ("pelvis", "left_hand", "right_hand"),
    "root": ("pelvis",),
}


class PoseTrackEnv(MujocoEnv):
    """Person that follows a reference.

    Observation: 14 positions and 14 velocities of the joints, setpoints of the 11 servos, and the reference at the
    next tick: the root's pitch relative to the robot's own, and its rate; the offset (x, z) of each observed
    point from the robot's own, and its velocity (x, z). Action: velocity of each servo's setpoint [rad/s]. At
    zero the servos hold their setpoints.

    Reward of a tick: exp(-mean squared distance of the ten points / (0.1 m)²). The episode ends as soon as their
    mean distance exceeds `FAR_M`. `info` has this distance as `error_m`, and `success`: whether tick 100 came
    before that.

    Args:
        told: which points of the reference are observed.
    """

    metadata = {"render_modes": ["human", "rgb_array", "depth_array", "rgbd_tuple"], "render_fps": 25}  # noqa: RUF012

    def __init__(self, told: Told = "all", **arguments: Any) -> None:
        self._told = np.array([POINTS.index(name) for name in TOLD[told]])
        self._tick = 0
        space = Box(-np.inf, np.inf, (41 + 4 * len(self._told),), np.float64)
        model = str(Path(__file__).with_name("pose_track.xml"))
        self._setpoint_rad = np.zeros(len(RATES_RAD_S))
        super().__init__(model, frame_skip=4, observation_space=space, **arguments)
        self._sites = np.array([self.model.site(name).id for name in POINTS])
        self._marks = np.array([self.model.site(f"goal_{name}").id for name in POINTS])
        self.model.site_rgba[self._marks[self._told]] = 0.84, 0.15, 0.16, 0.8
        self._low_rad, self._high_rad = self.model.actuator_ctrlrange.T.copy()
        self._scratch = mujoco.MjData(self.model)
        self._poses = np.zeros((TICKS + 2, 14))
        self._here_m = self._goal_m = np.zeros((len(POINTS), 2))  # the reference now and at the next tick

    def step(
        self, action: NDArray[np.float32]
    ) -> tuple[NDArray[np.float64], np.float64, bool, bool, dict[str, Any]]:
        """Step by one tick of 40 ms."""
        rate = np.minimum(np.maximum(action, -RATES_RAD_S), RATES_RAD_S)  # faster than clip, as below
        moved = self._setpoint_rad + TICK_S * rate
        self._setpoint_rad = np.minimum(np.maximum(moved, self._low_rad), self._high_rad)
        self.do_simulation(self._setpoint_rad, self.frame_skip)
        self._tick += 1
        self._here_m, self._goal_m = self._goal_m, self._reference(self._tick + 1)
        points_m = self._points(self.data)
        squares = np.square(points_m - self._here_m).sum(-1)
        error_m = float(np.sqrt(squares).sum()) / len(POINTS)
        lost = error_m > FAR_M
        if self.render_mode == "human":
            self.render()  # type: ignore[no-untyped-call]
        info = {"success": self._tick == TICKS and not lost, "error_m": error_m}
        return self._look(points_m), np.exp(-squares.sum() / len(POINTS) / _SHARP_M**2), lost, False, info

    def reset_model(self) -> Array:
        """Draw a motion, and place the robot on it with its velocities."""
        times_s = np.linspace(0, TICK_S * (TICKS + 1), TICKS + 2)
        self._tick, self._poses = 0, draw(self.np_random).poses(times_s)
        self._setpoint_rad = self._poses[0, 3:]
        self._here_m, self._goal_m = self._reference(0), self._reference(1)
        self.set_state(self._poses[0], (self._poses[1] - self._poses[0]) / TICK_S)  # type: ignore[no-untyped-call]
        return self._look(self._points(self.data))

    def _set_action_space(self) -> Box:
        """Use limits of velocities, where gymnasium would use the servos' angles."""
        self.action_space = Box(-RATES_RAD_S, RATES_RAD_S, dtype=np.float32)
        return self.action_space

    def _reference(self, tick: int) -> Array:
        """Return the reference's points at a tick [m]. Shape (10, 2)."""
        self._scratch.qpos[:] = self._poses[tick]
        return self._points(self._scratch)

    def _points(self, data: mujoco.MjData) -> Array:
        """Return the robot's points at the joint positions of `data` [m]. Shape (10, 2)."""
        mujoco.mj_kinematics(self.model, data)  # after a step MuJoCo's own points are those of the previous step
        points: Array = data.site_xpos[self._sites][:, ::2]
        return points

    def _look(self, points_m: Array) -> Array:
        if self.render_mode is not None:
            self.model.site_pos[self._marks, ::2] = self._goal_m
        now, goal, told = self._poses[self._tick], self._poses[self._tick + 1], self._told
        pitch = goal[2] - self.data.qpos[2], (goal[2] - now[2]) / TICK_S
        points = np.concatenate([self._goal_m - points_m, (self._goal_m - self._here_m) / TICK_S], axis=1)[told]
        return np.concatenate([self.data.qpos, self.data.qvel, self._setpoint_rad, pitch, points.ravel()])
