"""Quantities of a MuJoCo model that an observation may contain, with units."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

Read = Callable[[], NDArray[np.float64]]

_JOINT, _SENSOR = mujoco.mjtJoint, mujoco.mjtSensor
_SENSOR_UNITS = {
    _SENSOR.mjSENS_TOUCH: "N",
    _SENSOR.mjSENS_ACCELEROMETER: "m/s²",
    _SENSOR.mjSENS_VELOCIMETER: "m/s",
    _SENSOR.mjSENS_GYRO: "rad/s",
    _SENSOR.mjSENS_FORCE: "N",
    _SENSOR.mjSENS_TORQUE: "N·m",
    _SENSOR.mjSENS_RANGEFINDER: "m",
    _SENSOR.mjSENS_FRAMEPOS: "m",
    _SENSOR.mjSENS_FRAMELINVEL: "m/s",
    _SENSOR.mjSENS_FRAMEANGVEL: "rad/s",
    _SENSOR.mjSENS_FRAMELINACC: "m/s²",
    _SENSOR.mjSENS_SUBTREECOM: "m",
    _SENSOR.mjSENS_SUBTREELINVEL: "m/s",
}
_MOST_BODIES = 24  # differences of positions grow with their square
_AXES = ("x", "y", "z")
_QUATERNION = ("w", "x", "y", "z")


@dataclass(frozen=True, slots=True)
class Quantity:
    """One number of a model's state.

    Attributes:
        name: name of a signal that has this value.
        unit: its unit.
    """

    name: str
    unit: str


class Quantities:
    """All quantities of a simulation, the likelier ones first.

    Attributes:
        all: positions, velocities, sensors, cosines and sines of hinges, body and site positions, differences of
            body positions.
        actuators: the controls.
    """

    def __init__(self, data: Any) -> None:
        self._data, model = data, data.model
        self._reads: list[Read] = []
        self.all: list[Quantity] = []
        for index in range(model.njnt):
            self._add_joint(index, velocity=False)
        for index in range(model.njnt):
            self._add_joint(index, velocity=True)
        for index in range(model.nsensor):
            self._add_sensor(index)
        self._add_turns()
        bodies = [(model.body(i).name, i) for i in range(1, model.nbody)]
        self._add([q for name, _ in bodies for q in _xyz(name)], lambda: data.xpos[1:].ravel())
        sites = [model.site(i).name or f"site_{i}" for i in range(model.nsite)]
        self._add([q for name in sites for q in _xyz(name)], lambda: data.site_xpos.ravel())
        if len(bodies) <= _MOST_BODIES:
            pairs = list(permutations(bodies, 2))
            first, second = ([pair[k][1] for pair in pairs] for k in (0, 1))
            differences = [q for (one, _), (other, _) in pairs for q in _xyz(f"{one}_minus_{other}")]
            self._add(differences, lambda: (data.xpos[first] - data.xpos[second]).ravel())
        self.actuators = [actuator(model, i) for i in range(model.nu)]

    def values(self) -> NDArray[np.float64]:
        """Return the values of `all` in the present state."""
        return np.concatenate([read() for read in self._reads])

    def controls(self) -> NDArray[np.float64]:
        """Return the values of `actuators`, as last commanded."""
        return np.array(self._data.ctrl, np.float64)

    def _add(self, quantities: list[Quantity], read: Read) -> None:
        self.all += quantities
        self._reads.append(read)

    def _add_joint(self, index: int, *, velocity: bool) -> None:
        data, model = self._data, self._data.model
        name, kind = _joint_name(model, index), model.jnt_type[index]
        if velocity:
            first, made = int(model.jnt_dofadr[index]), joint_velocities(name, kind)
            self._add(made, lambda: data.qvel[first : first + len(made)])
        else:
            first, made = int(model.jnt_qposadr[index]), joint_positions(name, kind)
            self._add(made, lambda: data.qpos[first : first + len(made)])

    def _add_sensor(self, index: int) -> None:
        data, made = self._data, sensor(self._data.model, index)
        first = int(data.model.sensor_adr[index])
        self._add(made, lambda: data.sensordata[first : first + len(made)])

    def _add_turns(self) -> None:
        data, model = self._data, self._data.model
        hinges = [i for i in range(model.njnt) if model.jnt_type[i] == _JOINT.mjJNT_HINGE]
        places = [int(model.jnt_qposadr[i]) for i in hinges]
        names = [_joint_name(model, i) for i in hinges]
        self._add([Quantity(f"{name}_cos", "1") for name in names], lambda: np.cos(data.qpos[places]))
        self._add([Quantity(f"{name}_sin", "1") for name in names], lambda: np.sin(data.qpos[places]))


def joint_positions(name: str, kind: int) -> list[Quantity]:
    """Return the quantities of a joint's position, by MuJoCo's type of joint."""
    turn = [Quantity(f"{name}_quaternion_{part}", "1") for part in _QUATERNION]
    match kind:
        case _JOINT.mjJNT_HINGE:
            return [Quantity(f"{name}_angle", "rad")]
        case _JOINT.mjJNT_SLIDE:
            return [Quantity(f"{name}_position", "m")]
        case _JOINT.mjJNT_BALL:
            return turn
    return [*(Quantity(f"{name}_{axis}", "m") for axis in _AXES), *turn]


def joint_velocities(name: str, kind: int) -> list[Quantity]:
    """Return the quantities of a joint's velocity, by MuJoCo's type of joint."""
    turn = [Quantity(f"{name}_angular_velocity_{axis}", "rad/s") for axis in _AXES]
    match kind:
        case _JOINT.mjJNT_HINGE:
            return [Quantity(f"{name}_angular_velocity", "rad/s")]
        case _JOINT.mjJNT_SLIDE:
            return [Quantity(f"{name}_velocity", "m/s")]
        case _JOINT.mjJNT_BALL:
            return turn
    return [*(Quantity(f"{name}_velocity_{axis}", "m/s") for axis in _AXES), *turn]


def sensor(model: Any, index: int) -> list[Quantity]:
    """Return the quantities of a sensor."""
    name, size = model.sensor(index).name or f"sensor_{index}", int(model.sensor_dim[index])
    unit = _SENSOR_UNITS.get(model.sensor_type[index], "1")
    parts = {1: ("",), 3: tuple(f"_{a}" for a in _AXES), 4: tuple(f"_{a}" for a in _QUATERNION)}
    return [Quantity(f"{name}{part}", unit) for part in parts.get(size, tuple(f"_{i}" for i in range(size)))]


def actuator(model: Any, index: int) -> Quantity:
    """Return the quantity that an actuator's control commands.

    A motor's unit is the torque or force of a control of 1, from its gear and gain. A servo commands a position or
    a velocity.
    """
    joint = int(model.actuator_trnid[index, 0])
    drives_joint = model.actuator_trntype[index] == mujoco.mjtTrn.mjTRN_JOINT
    turns = drives_joint and model.jnt_type[joint] == _JOINT.mjJNT_HINGE
    name = model.actuator(index).name or (_joint_name(model, joint) if drives_joint else f"actuator_{index}")
    gain, bias = float(model.actuator_gainprm[index, 0]), model.actuator_biasprm[index]
    if drives_joint and gain != 0 and bias[1] == -gain:
        return Quantity(f"{name}_target", "rad" if turns else "m")
    if drives_joint and gain != 0 and bias[2] == -gain:
        return Quantity(f"{name}_target_velocity", "rad/s" if turns else "m/s")
    strength = abs(float(model.actuator_gear[index, 0]) * gain)
    unit = "N·m" if turns else "N"
    scaled = unit if strength == 1 else f"{strength:g} {unit}"
    return Quantity(f"{name}_{'torque' if turns else 'force'}", scaled if drives_joint else "1")


def _xyz(name: str) -> list[Quantity]:
    return [Quantity(f"{name}_{axis}", "m") for axis in _AXES]


def _joint_name(model: Any, index: int) -> str:
    return str(model.joint(index).name or f"joint_{index}")
