"""The base of a robot: its velocity, height and inclination."""

from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

from odeploy_sim.mjcf.names import require_known

Floats = NDArray[np.float64]

_FRAME = mujoco.mjtObj.mjOBJ_XBODY  # the body's own frame; mjOBJ_BODY is that of its inertia


class Base:
    """The body that stands for the robot as a whole."""

    def __init__(self, data: Any, name: str | None, where: str) -> None:
        """Find the body.

        Args:
            data: the simulation.
            name: its name; by default the first body that floats, or the first one.
            where: the task file, for errors.

        Raises:
            MissingError: an unknown body.
        """
        self._data, self._model, model = data, data.model, data.model
        if name is not None:
            require_known(
                name, (model.body(i).name for i in range(1, model.nbody)), "body", f"{where} at mjcf.base"
            )
            self._body = int(model.body(name).id)
        else:
            floating = model.jnt_bodyid[model.jnt_type == mujoco.mjtJoint.mjJNT_FREE]
            self._body = int(floating[0]) if len(floating) else 1
        self._velocity = np.zeros(6)

    def gravity(self) -> Floats:
        """Return the direction of gravity in the base's frame. Shape (3,)."""
        down: Floats = -self._data.xmat[self._body].reshape(3, 3)[2]  # the world's -z, rotated back
        return down

    def angular_velocity(self) -> Floats:
        """Return the angular velocity in the base's frame [rad/s]. Shape (3,)."""
        return self._spatial_velocity()[:3]

    def linear_velocity(self) -> Floats:
        """Return the velocity in the base's frame [m/s]. Shape (3,)."""
        return self._spatial_velocity()[3:]

    def height(self) -> float:
        """Return the height above the world's origin [m]."""
        return float(self._data.xpos[self._body, 2])

    def tilt(self) -> float:
        """Return the angle between the base's z axis and the vertical [rad]."""
        return float(np.arccos(np.clip(self._data.xmat[self._body, 8], -1, 1)))

    def _spatial_velocity(self) -> Floats:
        mujoco.mj_objectVelocity(self._model, self._data, _FRAME, self._body, self._velocity, 1)
        return self._velocity.copy()
