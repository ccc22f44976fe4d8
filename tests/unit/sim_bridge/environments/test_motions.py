"""The reference motions: sixteen types, one upright pose, feet on the floor."""

from dataclasses import replace
from pathlib import Path
from typing import get_args

import mujoco
import numpy as np
import pytest
from numpy.typing import NDArray

from odeploy_sim.environments import motions
from odeploy_sim.environments.motions import ANKLE_M, Motion, Trunk, draw

SEED = 0
MODEL = mujoco.MjModel.from_xml_path(str(Path(motions.__file__).with_name("pose_track.xml")))


def drawn(count: int) -> list[Motion]:
    generator = np.random.default_rng(SEED)
    return [draw(generator) for _ in range(count)]


def feet_m(poses: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return MuJoCo's x and z [m] of the ankles, and the sine of the sole's tilt. Shape (T, 2, 3)."""
    data, rows = mujoco.MjData(MODEL), []
    for pose in poses:
        data.qpos[:] = pose
        mujoco.mj_kinematics(MODEL, data)
        feet = [data.body(f"{side}_foot") for side in ("left", "right")]
        rows.append([(foot.xpos[0], foot.xpos[2], foot.xmat[2]) for foot in feet])
    return np.array(rows)


def test_all_sixteen_types_are_drawn() -> None:
    kinds = {(motion.trunk, *motion.arms) for motion in drawn(400)}
    assert len(kinds) == 16


def test_the_motion_depends_only_on_the_seed() -> None:
    assert draw(np.random.default_rng(3)) == draw(np.random.default_rng(3))
    assert draw(np.random.default_rng(3)) != draw(np.random.default_rng(4))


@pytest.mark.parametrize("trunk", get_args(Trunk))
def test_every_type_passes_through_one_upright_pose_with_the_arms_down(trunk: Trunk) -> None:
    poses = [
        replace(m, stance_m=0.13, phase_rad=0.0).poses(np.zeros(1))[0] for m in drawn(100) if m.trunk == trunk
    ]
    np.testing.assert_allclose(poses, np.broadcast_to(poses[0], (len(poses), 14)), atol=1e-12)
    np.testing.assert_allclose(poses[0][2:8], [0, 0, 0.1, 0.2, 0.1, 0.2], atol=1e-12)


def test_the_roots_motion_does_not_depend_on_the_arms() -> None:
    motion, times = drawn(1)[0], np.linspace(0, 4, 50)
    other = replace(motion, arms=("back", "back"), raises_rad=(-1.0, -1.5))
    np.testing.assert_array_equal(motion.poses(times)[:, :4], other.poses(times)[:, :4])
    assert np.abs(motion.poses(times)[:, 4:8] - other.poses(times)[:, 4:8]).max() > 0.3


def test_soles_stay_level_and_in_place_except_a_lifted_one() -> None:
    times = np.linspace(0, 4.2, 60)
    for motion in drawn(60):
        feet = feet_m(motion.poses(times))
        np.testing.assert_allclose(feet[:, :, 0], np.tile([motion.stance_m, -motion.stance_m], (60, 1)), atol=1e-9)
        np.testing.assert_allclose(feet[:, :, 2], 0, atol=1e-9)
        up = feet[:, :, 1].max(axis=0) - ANKLE_M
        expected = np.zeros(2)
        if motion.trunk == "lift":
            expected[motion.lifted] = up[motion.lifted]
            assert up[motion.lifted] <= motion.size + 1e-9
        np.testing.assert_allclose(up, expected, atol=1e-9)


def test_poses_are_within_the_servos_range() -> None:
    low, high = MODEL.actuator_ctrlrange.T
    for motion in drawn(300):
        angles = motion.poses(np.linspace(0, 4.04, 102))[:, 3:]
        assert np.isfinite(angles).all()
        assert (angles > low).all()
        assert (angles < high).all()
