"""The expert of the reachers."""

import numpy as np
from numpy.typing import NDArray

from odeploy_sim.tasks.env import TaskEnv

LINK_M = 0.12  # of both; the shoulder is the origin


class ReacherExpert:
    """Solve the arm's triangle for the target; drive both joints by a PD law.

    Two elbow positions reach the target; the expert takes the one whose farther joint has less to turn.
    """

    P_GAIN, D_GAIN = 20.0, 0.5  # per rad, per rad/s

    def __init__(self, _env: TaskEnv) -> None: ...

    def __call__(self, observation: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return torques for an observation. Shape (2,).

        The observation is shoulder and wrist angle, finger to target, angular velocities.
        """
        q, to_target, velocities = np.split(observation.astype(np.float64), 3)
        turns = min(self._turns(q, finger(q) + to_target), key=lambda turn: np.abs(turn).max())
        return np.clip(self.P_GAIN * turns - self.D_GAIN * velocities, -1, 1).astype(np.float32)

    @staticmethod
    def _turns(q: NDArray[np.float64], target: NDArray[np.float64]) -> list[NDArray[np.float64]]:
        """Return the turns of shoulder and wrist, with the wrist bent to either side."""
        bend = 2 * np.arccos(min(1.0, float(np.hypot(*target)) / (2 * LINK_M)))
        bearing = np.arctan2(target[1], target[0])
        return [
            np.array([(bearing - wrist / 2 - q[0] + np.pi) % (2 * np.pi) - np.pi, wrist - q[1]])
            for wrist in (bend, -bend)
        ]


def finger(q: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the finger's position at angles q of shoulder and wrist. Shape (2,)."""
    arm, hand = q[0], q[0] + q[1]
    return LINK_M * np.array([np.cos(arm) + np.cos(hand), np.sin(arm) + np.sin(hand)])
