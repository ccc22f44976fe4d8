"""Compilation: what a task file changes in a model, and models that do not compile."""

import re
from pathlib import Path

import mujoco
import numpy as np
import pytest

from odeploy_runtime.errors import FormatError, MissingError
from odeploy_sim.mjcf.model import compiled, joint_names, start, ticks
from odeploy_sim.mjcf.table import Pd
from tests.unit.sim_bridge.mjcf.models import LEG, table


def test_floor_armature_and_physics_step_are_added(tmp_path: Path) -> None:
    plain = compiled(table(tmp_path), "f")
    asked = table(tmp_path, floor=True, armature={"knee": 0.3, "*": 0.1}, physics_step_s=0.001)
    changed = compiled(asked, "f")
    assert joint_names(changed) == ["hip", "knee"]
    assert changed.opt.timestep == 0.001
    assert changed.ngeom == plain.ngeom + 1
    np.testing.assert_allclose(changed.dof_armature, [0] * 6 + [0.1, 0.3])


def test_the_floor_collides_whatever_the_models_defaults(tmp_path: Path) -> None:
    visual = LEG.replace("<worldbody>", '<default><geom contype="0" conaffinity="0"/></default><worldbody>', 1)
    model = compiled(table(tmp_path, visual, floor=True), "f")
    floor = model.geom("floor")
    assert (floor.contype[0], floor.conaffinity[0]) == (1, 1)
    assert floor.type[0] == mujoco.mjtGeom.mjGEOM_PLANE
    assert model.tex(model.mat(floor.matid[0]).texid[mujoco.mjtTextureRole.mjTEXROLE_RGB]).name == "floor_chequers"


def test_pd_replaces_the_actuators_by_motors_with_the_models_limits(tmp_path: Path) -> None:
    model = compiled(table(tmp_path, pd=Pd(1.0, 0.1, joints=("knee", "hip"))), "f")
    assert [model.actuator(i).name for i in range(model.nu)] == ["knee", "hip"]
    np.testing.assert_allclose(model.actuator_ctrlrange, [[-5, 5], [-8, 8]])
    np.testing.assert_allclose(model.actuator_gainprm[:, 0], 1)
    np.testing.assert_allclose(model.actuator_biasprm, 0)


def test_motors_without_a_limit_are_refused(tmp_path: Path) -> None:
    bare = LEG.replace('forcerange="-5 5"', "")
    with pytest.raises(FormatError, match="expected a torque limit of knee, got none"):
        compiled(table(tmp_path, bare, pd=Pd(1.0, 0.1)), "f")
    stated = compiled(table(tmp_path, bare, pd=Pd(1.0, 0.1, torque_limits=7)), "f")
    np.testing.assert_allclose(stated.actuator_ctrlrange[:, 1], 7)


def test_a_motors_own_range_limits_its_torque(tmp_path: Path) -> None:
    motors = LEG.replace(
        '<position name="hip" joint="hip" kp="50" ctrlrange="-1 1" forcerange="-8 8"/>', ""
    ).replace(
        '<position name="knee" joint="knee" kp="50" ctrlrange="-1.5 0" forcerange="-5 5"/>',
        '<motor name="knee" joint="knee" gear="20" ctrlrange="-1 1"/>',
    )
    model = compiled(table(tmp_path, motors, pd=Pd(1.0, 0.1)), "f")
    np.testing.assert_allclose(model.actuator_ctrlrange, [[-20, 20]])


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (LEG.replace("<freejoint", "<freejiont"), r"leg\.xml: .*unrecognized element Element 'freejiont', line 6"),
        (re.sub("<geom.*?/>", "", LEG), r"leg\.xml: .*mass and inertia of moving bodies"),
        (LEG.replace('name="knee" axis', "axis"), r"leg\.xml: expected a name for each joint, got 1 without one"),
    ],
)
def test_a_model_that_does_not_compile_is_one_line_with_the_files_name(
    tmp_path: Path, broken: str, message: str
) -> None:
    with pytest.raises(FormatError, match=message) as raised:
        compiled(table(tmp_path, broken), "f")
    assert "\n" not in str(raised.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    asked = table(tmp_path)
    (tmp_path / "leg.xml").unlink()
    with pytest.raises(MissingError, match=r"f at mjcf.model: expected an MJCF file, got none at .*leg\.xml"):
        compiled(asked, "f")


@pytest.mark.parametrize(("rate_hz", "steps"), [(500.0, 1), (50.0, 10), (100 / 3, 15)])
def test_a_tick_is_a_whole_number_of_physics_steps(tmp_path: Path, rate_hz: float, steps: int) -> None:
    assert ticks(compiled(table(tmp_path), "f"), rate_hz, "f") == steps


@pytest.mark.parametrize(("rate_hz", "steps", "near"), [(60.0, "8.333", "62.5"), (2000.0, "0.25", "500")])
def test_another_rate_is_refused_with_both_numbers(tmp_path: Path, rate_hz: float, steps: str, near: str) -> None:
    message = f"whole physics steps of 2 ms, got {rate_hz:g} Hz, {steps} steps; set {near} Hz"
    with pytest.raises(FormatError, match=message):
        ticks(compiled(table(tmp_path), "f"), rate_hz, "f")


def test_the_reset_is_a_keyframe_or_the_first_one_changed_by_the_pose(tmp_path: Path) -> None:
    model = compiled(table(tmp_path), "f")
    np.testing.assert_allclose(start(model, table(tmp_path), "f").qpos[7:], [0.2, -0.4])
    np.testing.assert_allclose(start(model, table(tmp_path, keyframe="sit"), "f").qpos[7:], [1, -1.5])
    posed = start(model, table(tmp_path, pose={"knee": -1.0}, base_position_m=(1.0, 2.0, 3.0)), "f")
    np.testing.assert_allclose(posed.qpos, [1, 2, 3, 1, 0, 0, 0, 0.2, -1])


def test_an_unknown_keyframe_offers_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"f at mjcf\.keyframe: expected a known keyframe: stand, got stnd"):
        start(compiled(table(tmp_path), "f"), table(tmp_path, keyframe="stnd"), "f")
