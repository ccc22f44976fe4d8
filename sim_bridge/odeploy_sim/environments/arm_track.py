"""Arm-track: the tip of a two-link arm follows a point on a circle, at 25 Hz.

A policy commands joint positions, and a PD law at 500 Hz turns them into torques. At 25 Hz the same law, or any
policy that commands equally stiff torques, is unstable. The point's velocity is not observed, but follows from two
observations.
"""

from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray

from odeploy_runtime.policy_file.actuation import PD, Actuation
from odeploy_sim.environments.actuated import ActuatedEnv

LINKS_M = 0.4, 0.3
SERVO = Actuation(
    rate_hz=500.0,
    interpolation="linear",
    pd=PD(
        p_gains_nm_rad=(400.0, 100.0),
        d_gains_nms_rad=(22.0, 3.0),
        default_pose_rad=(0.0, 1.6),
        torque_limits_nm=(40.0, 15.0),
    ),
)
"""Close to critical damping: the inertia is 0.3 kg·m² about the shoulder and 0.024 about the elbow, stretched."""
RANGE_RAD = 1.2
NEAR_M = 0.015
_IN_A_ROW = 25
_CENTRE_M, _RADIUS_M, _SPEED_RAD_S = (0.38, 0.45), (0.05, 0.12), (1.5, 3.0)
_BEARING_RAD = 0.5


class ArmTrackEnv(ActuatedEnv):
    """Arm that follows a point.

    Observation: two angles, two angular velocities, the point's x and y. Action: setpoints [rad],
    relative to the default pose.

    Reward of a tick: minus the mean distance between tip and point over its physics steps [m]. `info` has this
    distance as `error_m`, and `success`: whether it was below 15 mm in each tick of the last second.

    Args:
        actuation: the motors' control loop.
    """

    metadata = {"render_modes": ["human", "rgb_array", "depth_array", "rgbd_tuple"], "render_fps": 25}  # noqa: RUF012

    def __init__(self, actuation: Actuation = SERVO, **arguments: Any) -> None:
        self._circle = np.zeros(2), 0.0, 0.0, 0.0  # centre in m, radius in m, phase in rad, speed in rad/s
        self._distance_m, self._near = 0.0, 0
        space = Box(-np.inf, np.inf, (6,), np.float64)
        model = str(Path(__file__).with_name("arm_track.xml"))
        super().__init__(model, frame_skip=20, observation_space=space, actuation=actuation, **arguments)
        self._tip = self.data.site("tip")

    def point_m(self, time_s: float) -> NDArray[np.float64]:
        """Return the point's position at a time of the episode. Shape (2,)."""
        centre, radius, phase, speed = self._circle
        angle = phase + speed * time_s
        return centre + radius * np.array([np.cos(angle), np.sin(angle)])

    def step(
        self, action: NDArray[np.float32]
    ) -> tuple[NDArray[np.float64], np.float64, bool, bool, dict[str, Any]]:
        """Step by one tick of 40 ms."""
        self._distance_m = 0.0
        self.do_simulation(np.clip(action, -RANGE_RAD, RANGE_RAD), self.frame_skip)
        error_m = self._distance_m / self.frame_skip
        self._near = self._near + 1 if error_m < NEAR_M else 0
        if self.render_mode == "human":
            self.render()  # type: ignore[no-untyped-call]
        info = {"success": self._near >= _IN_A_ROW, "error_m": error_m}
        return self._look(), np.float64(-error_m), False, False, info

    def reset_model(self) -> NDArray[np.float64]:
        """Place the arm at rest near its default pose, and draw the point's circle."""
        draw, self._near = self.np_random.uniform, 0
        bearing, far = draw(-_BEARING_RAD, _BEARING_RAD), draw(*_CENTRE_M)
        centre = far * np.array([np.cos(bearing), np.sin(bearing)])
        speed = draw(*_SPEED_RAD_S) * self.np_random.choice([-1, 1])
        self._circle = centre, draw(*_RADIUS_M), draw(0, 2 * np.pi), speed
        pose = np.array([0.0, 1.6]) + draw(-0.1, 0.1, 2)
        self.set_state(pose, self.init_qvel)  # type: ignore[no-untyped-call]
        return self._look()

    def _step_physics(self) -> None:
        super()._step_physics()
        # MuJoCo's site lags its joints by one step, which does not matter for this comparison.
        self._distance_m += float(np.linalg.norm(self._tip.xpos[:2] - self.point_m(self.data.time)))

    def _set_action_space(self) -> Box:
        """Use limits of setpoints, where gymnasium would use those of the motors."""
        self.action_space = Box(-RANGE_RAD, RANGE_RAD, (2,), np.float32)
        return self.action_space

    def _look(self) -> NDArray[np.float64]:
        point = self.point_m(self.data.time)
        self.model.site("target").pos[:2] = point
        return np.concatenate([self.data.qpos, self.data.qvel, point])
