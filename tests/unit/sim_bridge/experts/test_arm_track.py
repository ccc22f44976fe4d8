"""The expert of arm-track: its inverse kinematics."""

import mujoco
import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import odeploy_sim.environments.arm_track as arm
from odeploy_sim.experts.arm_track import angles_rad

MODEL = mujoco.MjModel.from_xml_path(arm.__file__.replace(".py", ".xml"))


def tip_m(angles: NDArray[np.float64]) -> list[float]:
    data = mujoco.MjData(MODEL)
    data.qpos[:] = angles
    mujoco.mj_forward(MODEL, data)
    return list(data.site("tip").xpos[:2])


@given(st.floats(0.11, 0.69), st.floats(-3, 3))
def test_the_computed_angles_put_the_models_tip_on_the_point(far_m: float, bearing_rad: float) -> None:
    point = far_m * np.array([np.cos(bearing_rad), np.sin(bearing_rad)])
    np.testing.assert_allclose(tip_m(angles_rad(point)), point, atol=1e-6)


def test_for_a_point_out_of_reach_the_arm_points_at_it() -> None:
    np.testing.assert_allclose(tip_m(angles_rad(np.array([3.0, 4.0]))), [0.42, 0.56], atol=1e-6)
