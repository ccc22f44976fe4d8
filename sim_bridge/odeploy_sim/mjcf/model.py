"""Compilation of an MJCF with the changes that a task file asks for."""

from pathlib import Path
from typing import Any

import mujoco
import numpy as np

from odeploy_runtime.errors import FormatError, MissingError
from odeploy_sim.mjcf.names import matching, per_joint, require_known
from odeploy_sim.mjcf.table import Mjcf, Pd

_NUMBERS = (mujoco.mjtJoint.mjJNT_HINGE, mujoco.mjtJoint.mjJNT_SLIDE)
_ON_JOINT = mujoco.mjtTrn.mjTRN_JOINT


def compiled(table: Mjcf, where: str) -> Any:
    """Return the `MjModel` of a task file's table.

    Args:
        table: the table; its model's path is absolute.
        where: the task file, for errors.

    Raises:
        MissingError: no such file, or an unknown name.
        FormatError: the model does not compile.
    """
    spec = _parsed(table, where)
    joints = [joint.name for joint in spec.joints if joint.type in _NUMBERS]
    if "" in joints:
        raise FormatError(
            where=table.model,
            expected="a name for each joint",
            got=f"{joints.count('')} without one",
            remedy='add name="…" to them',
        )
    if table.physics_step_s is not None:
        spec.option.timestep = table.physics_step_s
    if table.floor:
        _add_floor(spec)
    if table.armature is not None:
        for name, number in zip(
            joints, per_joint(table.armature, joints, f"{where} at mjcf.armature"), strict=True
        ):
            spec.joint(name).armature = number
    if table.pd is not None:
        _replace_by_motors(spec, table.pd, joints, f"{where} at mjcf.pd")
    try:
        return spec.compile()
    except ValueError as error:
        raise _not_compiled(table.model, error) from None


def joint_names(model: Any) -> list[str]:
    """Return the names of hinges and slides, in the model's order."""
    return [model.joint(i).name for i in range(model.njnt) if model.jnt_type[i] in _NUMBERS]


def ticks(model: Any, rate_hz: float, where: str) -> int:
    """Return the physics steps of a tick.

    Raises:
        FormatError: the period is no whole number of steps.
    """
    step_s = float(model.opt.timestep)
    steps = 1 / (rate_hz * step_s)
    whole = max(1, round(steps))
    if abs(steps - whole) > 1e-6 * whole:
        raise FormatError(
            where=f"{where} at rate_hz",
            expected=f"a period of whole physics steps of {step_s * 1e3:g} ms",
            got=f"{rate_hz:g} Hz, {steps:.4g} steps",
            remedy=f"set {1 / (whole * step_s):.6g} Hz, or another mjcf.physics_step_s",
        )
    return whole


def start(model: Any, table: Mjcf, where: str) -> Any:
    """Return an `MjData` in the state of the reset, without noise.

    Raises:
        MissingError: an unknown keyframe or joint.
        FormatError: a position for a base that does not float.
    """
    data = mujoco.MjData(model)
    if table.keyframe is not None:
        keys = [model.key(i).name for i in range(model.nkey)]
        require_known(table.keyframe, keys, "keyframe", f"{where} at mjcf.keyframe")
        mujoco.mj_resetDataKeyframe(model, data, model.key(table.keyframe).id)
    elif model.nkey:
        mujoco.mj_resetDataKeyframe(model, data, 0)
    names, set_already = joint_names(model), set()
    for pattern, position in table.pose.items():
        for name in matching((pattern,), names, f"{where} at mjcf.pose"):
            if name not in set_already:  # the first pattern counts
                data.joint(name).qpos[0] = position
                set_already.add(name)
    if table.base_position_m is not None:
        free = np.flatnonzero(model.jnt_type == mujoco.mjtJoint.mjJNT_FREE)
        if not len(free):
            raise FormatError(
                where=f"{where} at mjcf.base_position_m",
                expected="a model whose base floats (freejoint)",
                got="a fixed one",
                remedy="leave the position out",
            )
        first = int(model.jnt_qposadr[free[0]])
        data.qpos[first : first + 3] = table.base_position_m
    mujoco.mj_forward(model, data)
    return data


def _parsed(table: Mjcf, where: str) -> Any:
    if not Path(table.model).is_file():
        raise MissingError(
            where=f"{where} at mjcf.model",
            expected="an MJCF file",
            got=f"none at {table.model}",
            remedy="correct the path",
        )
    try:
        return mujoco.MjSpec.from_file(table.model)
    except ValueError as error:
        raise _not_compiled(table.model, error) from None


def _not_compiled(path: str, error: ValueError) -> FormatError:
    return FormatError(
        where=path,
        expected="an MJCF that compiles",
        got=" ".join(str(error).split())[:300],
        remedy="correct the model",
    )


def _add_floor(spec: Any) -> None:
    """Add a plane that collides, whatever the model's defaults for its own geoms.

    Its chequers of 1 m show in a film that the robot moves.
    """
    spec.add_texture(
        name="floor_chequers",
        type=mujoco.mjtTexture.mjTEXTURE_2D,
        builtin=mujoco.mjtBuiltin.mjBUILTIN_CHECKER,
        rgb1=[0.8, 0.8, 0.8],
        rgb2=[0.7, 0.7, 0.7],
        width=64,
        height=64,
    )
    material = spec.add_material(name="floor_chequers", texrepeat=[0.5, 0.5], texuniform=True)
    material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = "floor_chequers"
    spec.worldbody.add_geom(
        name="floor",
        type=mujoco.mjtGeom.mjGEOM_PLANE,
        size=[0, 0, 0.05],
        material="floor_chequers",
        contype=1,
        conaffinity=1,
    )


def _replace_by_motors(spec: Any, pd: Pd, joints: list[str], where: str) -> None:
    """Replace the actuators by one motor for each joint, in the order of the action.

    A motor keeps the name of the actuator it replaces, to which sensors may refer.
    """
    driven = {a.target: a for a in spec.actuators if a.trntype == _ON_JOINT}
    names = matching(pd.joints or tuple(j for j in driven if j in joints), joints, where)
    limits = _torque_limits(spec, pd, names, driven, where)
    named = {name: driven[name].name for name in names if name in driven}
    for actuator in list(spec.actuators):
        spec.delete(actuator)
    for key in spec.keys:
        key.ctrl = []  # setpoints of the actuators that are gone
    for name, limit in zip(names, limits, strict=True):
        motor = spec.add_actuator(name=named.get(name) or name, target=name, trntype=_ON_JOINT)
        motor.set_to_motor()
        motor.ctrllimited, motor.ctrlrange = True, [-limit, limit]


def _torque_limits(spec: Any, pd: Pd, names: list[str], driven: dict[str, Any], where: str) -> tuple[float, ...]:
    """Return the limits of the table, or those of joints or actuators in the model."""
    if pd.torque_limits is not None:
        return per_joint(pd.torque_limits, names, f"{where}.torque_limits")
    limits = []
    for name in names:
        ranges = [spec.joint(name).actfrcrange]
        if name in driven:
            own = driven[name]
            ranges += [own.forcerange] + [own.ctrlrange * own.gear[0] * own.gainprm[0]] * (not own.biasprm.any())
        known = [min(-low, high) for low, high in ranges if low < 0 < high]
        if not known:
            raise FormatError(
                where=f"{where}.torque_limits",
                expected=f"a torque limit of {name}",
                got="none, and the model has neither actuatorfrcrange nor forcerange",
                remedy="set mjcf.pd.torque_limits",
            )
        limits.append(float(min(known)))
    return tuple(limits)
