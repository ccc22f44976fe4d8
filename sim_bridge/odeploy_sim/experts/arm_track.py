"""The expert of arm-track."""

import numpy as np
from numpy.typing import NDArray

from odeploy_sim.environments.arm_track import LINKS_M, RANGE_RAD, SERVO
from odeploy_sim.tasks.env import TaskEnv

_TICK_S = 0.04


class ArmTrackExpert:
    """Command the joints to the point's position at the time of their arrival.

    The point's velocity is its change since the previous tick. The joints' delay is d/p of the PD law, plus one
    tick if setpoints are interpolated, else half a tick.
    """

    def __init__(self, _env: TaskEnv, lead_s: float = 0.043 + _TICK_S) -> None:
        self._lead_s = lead_s
        self._before: NDArray[np.float32] | None = None

    def __call__(self, observation: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return setpoints for (two angles, two angular velocities, the point's x and y).

        Shape (2,).
        """
        point = observation[4:].astype(np.float64)
        velocity = 0.0 if self._before is None else (observation[4:] - self._before) / _TICK_S
        self._before = observation[4:].copy()
        assert SERVO.pd is not None
        setpoint = angles_rad(point + velocity * self._lead_s) - np.array(SERVO.pd.default_pose_rad)
        within: NDArray[np.float32] = np.clip(setpoint, -RANGE_RAD, RANGE_RAD).astype(np.float32)
        return within


def angles_rad(tip_m: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return shoulder and elbow that bring the tip there, or as near as possible.

    The elbow is to the left.
    """
    upper, fore = LINKS_M
    cosine = (tip_m @ tip_m - upper**2 - fore**2) / (2 * upper * fore)
    elbow = np.arccos(np.clip(cosine, -1, 1))
    bearing = np.arctan2(tip_m[1], tip_m[0])
    return np.array([bearing - np.arctan2(fore * np.sin(elbow), upper + fore * np.cos(elbow)), elbow])
