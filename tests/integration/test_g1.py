"""Another team's robot and walking policy: Unitree's G1, from the files that `make g1` fetches."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from odeploy_runtime.inference.onnx_policy import OnnxPolicy
from odeploy_runtime.inference.policy_state import PolicyState
from odeploy_sim.own_tasks.reference import resolve
from odeploy_sim.tasks.env import TaskEnv
from tests.house.layout import ROOT
from tests.integration.programs import odeploy

FETCHED = ROOT / "runs/g1"
NETWORK = FETCHED / "holosoma_inference/models/loco/g1_29dof/fastsac_g1_29dof.onnx"
TASK, RECIPE, FILE = FETCHED / "g1.toml", FETCHED / "recipe.toml", FETCHED / "g1.onnx"
MISSING = [path.name for path in (NETWORK, TASK, RECIPE, FILE) if not path.exists()]
pytestmark = [
    pytest.mark.g1,
    pytest.mark.skipif(bool(MISSING), reason=f"runs/g1 lacks {', '.join(MISSING)}: make g1"),
]
COMMANDED = "forward_velocity", "sideways_velocity", "turn_rate"
MEASURED = "imu_lin_vel_x", "imu_lin_vel_y", "imu_ang_vel_z"
MOST_OFF = 0.2  # m/s, and rad/s


def test_joints_and_gains_are_those_of_the_networks_metadata() -> None:
    facts = {entry.key: json.loads(entry.value) for entry in onnx.load(NETWORK).metadata_props}
    manifest = OnnxPolicy.load(FILE).manifest
    assert manifest.action_names == tuple(f"{name}_setpoint" for name in facts["dof_names"])
    law = manifest.actuation.pd if manifest.actuation is not None else None
    assert law is not None
    np.testing.assert_allclose(law.p_gains_nm_rad, facts["kp"], rtol=1e-6)
    np.testing.assert_allclose(law.d_gains_nms_rad, facts["kd"], rtol=1e-6)


@pytest.mark.parametrize("command", [(0.5, 0, 0), (-0.5, 0, 0), (0, 0.3, 0), (0.5, 0, 0.5), (0, 0, -0.5)])
def test_it_walks_for_ten_seconds_as_it_is_told(command: tuple[float, float, float]) -> None:
    env, policy = TaskEnv(resolve(str(TASK))), OnnxPolicy.load(FILE)
    names = env.task.observation_names
    told, measured = ([names.index(name) for name in chosen] for chosen in (COMMANDED, MEASURED))
    observation, state, seen = env.reset(1), PolicyState(policy.manifest, 0), []
    for tick in range(500):
        observation = observation.copy()
        observation[told] = command
        step = env.step(state.answer(policy, 0, 0, tick, observation)[0].copy())
        assert not step.terminated
        observation = step.observation
        seen.append(observation[measured])
    env.close()
    off = np.mean(seen[100:], axis=0) - command
    assert np.hypot(off[0], off[1]) < MOST_OFF
    assert abs(off[2]) < MOST_OFF


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("[output]\nscale = 0.25", "[output]\n"),
        ('"*_joint_angle"', '"right_*_joint_angle", "left_*_joint_angle", "waist_*_joint_angle"'),
    ],
    ids=["action scale left out", "joint order broken"],
)
def test_a_wrong_recipe_is_refused_before_anything_falls(right: str, wrong: str, tmp_path: Path) -> None:
    text = RECIPE.read_text()
    assert right in text
    broken = tmp_path / "recipe.toml"
    broken.write_text(text.replace(right, wrong))
    options = ["--task", str(TASK), "--recipe", str(broken), "--tolerance", "1e-3"]
    exported = odeploy("export", "--from", "onnx", str(NETWORK), *options, "--out", str(tmp_path / "p.onnx"))
    assert exported.returncode == 0, exported.stderr
    verified = odeploy("verify", str(tmp_path / "p.onnx"), "--task", str(TASK))
    assert verified.returncode == 2
    assert "check the scale of the action, the order of the joints and the gains" in verified.stderr
