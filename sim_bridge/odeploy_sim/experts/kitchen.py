"""The expert of the kitchen's sub-tasks: the hand's waypoints, joint velocities.

The kitchen always starts in the same state, so a sub-task is a list of waypoints beside its handle. Between them
the hand moves straight, fingers towards the wall; friction and the fingers' compliance do the rest.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

from odeploy_sim.tasks.env import TaskEnv

ARM = 7
SHUT, OPEN = -1.0, 1.0
NEAR_M = 0.025
FREE_M_S, PULLING_M_S = 0.5, 0.15
GAIN_HZ, TURN_GAIN_HZ = 3.0, 2.0
TURN_WEIGHT, DAMPING = 0.25, 0.002
LIMIT_MARGIN_RAD = 0.02
# Columns are the hand's axes: its fingers, along z, point away from the base, and open to the left and right.
FACING_THE_WALL = np.array([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])


@dataclass(frozen=True)
class Point:
    """A waypoint of the hand in the world [m], with speed and opening of the fingers."""

    position_m: NDArray[np.float64]
    speed_m_s: float = FREE_M_S
    fingers: float = SHUT


# Offsets from the site of the handle in metres: beside it, in front of it, through it.
_PUSHES: dict[str, tuple[str, Sequence[tuple[float, float, float]]]] = {
    "kettle": ("kettle_site", ((0.0, -0.2, -0.06), (0.02, 0.35, -0.06))),
    "bottom burner": ("knob2_site", ((-0.06, -0.2, 0.04), (-0.06, -0.03, 0.045), (0.12, -0.03, 0.045))),
    "top burner": ("knob4_site", ((-0.09, -0.2, 0.04), (-0.09, -0.03, 0.045), (0.12, -0.03, 0.045))),
    "light switch": ("light_site", ((0.12, -0.2, 0.0), (0.12, -0.05, 0.0), (-0.25, -0.05, 0.0))),
    "slide cabinet": ("slide_site", ((-0.13, -0.2, 0.0), (-0.13, -0.03, 0.0), (0.25, -0.03, 0.0))),
}
# Handle, hinge, and how far to turn.
_PULLS = {
    "microwave": ("microhandle_site", "microwave", -0.9),
    "hinge cabinet": ("hinge_site2", "right_hinge_cabinet", 1.5),
}


class KitchenExpert:
    """Complete a task's only sub-task.

    Several sub-tasks would need planning: on the way to the next one the hand hits what lies between.
    """

    def __init__(self, env: TaskEnv) -> None:
        inside: Any = env.env.unwrapped
        self._inside, self._model = inside, inside.model
        self._data = mujoco.MjData(self._model)  # a copy, posed like the observed arm
        self._data.qpos[:] = inside.inside.robot_env.init_qpos
        mujoco.mj_forward(self._model, self._data)
        (subtask,) = env.task.make_arguments["subtasks"]
        self._way = self._plan(subtask)
        self._tick_s = 1 / env.task.rate_hz
        self._points = list(self._way)

    def __call__(self, observation: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return velocities of the arm's joints and the fingers. Shape (9,)."""
        hand = self._pose(observation)
        if self._inside.data.time == 0:  # the episode has just begun
            self._points = list(self._way)
        if len(self._points) > 1 and np.linalg.norm(self._points[0].position_m - hand.xpos) < NEAR_M:
            self._points.pop(0)
        point = self._points[0]
        return np.append(self._command(self._velocities(hand, point)), [point.fingers] * 2).astype(np.float32)

    def _plan(self, subtask: str) -> list[Point]:
        if subtask in _PUSHES:
            site, offsets = _PUSHES[subtask]
            return [Point(self._data.site(site).xpos + np.array(offset)) for offset in offsets]
        site, hinge, angle = _PULLS[subtask]
        handle, centre = self._data.site(site).xpos.copy(), self._data.joint(hinge).xanchor.copy()
        before = [Point(handle - np.array([0.0, away, 0.0]), FREE_M_S, OPEN) for away in (0.25, 0.13, 0.0)]
        turns = np.linspace(0, angle, 1 + round(abs(angle) / 0.15))
        return before + [Point(centre + _turned(handle - centre, turn), PULLING_M_S) for turn in turns]

    def _pose(self, observation: NDArray[np.float32]) -> Any:
        self._data.qpos[: ARM + 2] = observation[: ARM + 2]
        mujoco.mj_fwdPosition(self._model, self._data)
        mujoco.mj_fwdVelocity(self._model, self._data)
        return self._data.site("end_effector")

    def _velocities(self, hand: Any, point: Point) -> NDArray[np.float64]:
        """Solve damped least squares over the joints that are not at their limits.

        Shape (7,).
        """
        jacobian = np.zeros((6, self._model.nv))
        mujoco.mj_jacSite(self._model, self._data, jacobian[:3], jacobian[3:], hand.id)
        J = jacobian[:, :ARM]
        way = GAIN_HZ * (point.position_m - hand.xpos)
        way *= min(1.0, point.speed_m_s / max(float(np.linalg.norm(way)), 1e-9))
        E = FACING_THE_WALL @ hand.xmat.reshape(3, 3).T
        turn = TURN_GAIN_HZ / 2 * np.array([E[2, 1] - E[1, 2], E[0, 2] - E[2, 0], E[1, 0] - E[0, 1]])
        J[3:] *= TURN_WEIGHT
        wanted = np.append(way, TURN_WEIGHT * turn)
        q, (low, high) = self._data.qpos[:ARM], self._model.jnt_range[:ARM].T
        for _ in range(3):
            velocities: NDArray[np.float64] = J.T @ np.linalg.solve(J @ J.T + DAMPING * np.eye(6), wanted)
            outwards = np.where(velocities < 0, q - low, high - q) < LIMIT_MARGIN_RAD
            J[:, outwards] = 0
        return velocities

    def _command(self, velocities: NDArray[np.float64]) -> NDArray[np.float64]:
        """Invert the servo at rest, whose spring carries gravity and the motion's damping.

        Shape (7,).
        """
        stiffness, damping = self._model.actuator_gainprm[:ARM, 0], self._model.dof_damping[:ARM]
        offset = (damping * velocities + self._data.qfrc_bias[:ARM]) / stiffness
        command: NDArray[np.float64] = np.clip(offset / (2 * self._tick_s), -1, 1)
        return command


def _turned(arm: NDArray[np.float64], angle: float) -> NDArray[np.float64]:
    """Rotate about the vertical."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([c * arm[0] - s * arm[1], s * arm[0] + c * arm[1], arm[2]])
