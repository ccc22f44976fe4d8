"""Another team's robot and walking policy: Unitree's G1, from the files that `make g1` fetches."""

import json
import subprocess
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


def exported(network: Path, out: Path, right: str = "", wrong: str = "") -> "subprocess.CompletedProcess[str]":
    """Export with a recipe in which one text is replaced."""
    text = RECIPE.read_text()
    assert right in text
    recipe = out.with_suffix(".toml")
    recipe.write_text(text.replace(right, wrong))
    options = ["--task", str(TASK), "--recipe", str(recipe), "--tolerance", "1e-3", "--squash", "clip"]
    return odeploy("export", "--from", "onnx", str(network), *options, "--out", str(out))


WITHOUT_SCALE = "[output]\nscale = 0.25", "[output]\n"
OTHER_ORDER = '"*_joint_angle"', '"right_*_joint_angle", "left_*_joint_angle", "waist_*_joint_angle"'


def test_the_networks_metadata_demands_a_scale_and_sets_the_order_of_joints(tmp_path: Path) -> None:
    refused = exported(NETWORK, tmp_path / "a.onnx", *WITHOUT_SCALE)
    assert refused.returncode == 2
    assert "expected action_scale, which turns its outputs into radians" in refused.stderr
    assert exported(NETWORK, tmp_path / "b.onnx", *OTHER_ORDER).returncode == 0
    assert odeploy("verify", str(tmp_path / "b.onnx"), "--task", str(TASK)).returncode == 0


@pytest.mark.parametrize(
    ("right", "wrong"), [WITHOUT_SCALE, OTHER_ORDER], ids=["action scale left out", "joint order broken"]
)
def test_without_metadata_a_wrong_file_is_refused_before_it_drives(right: str, wrong: str, tmp_path: Path) -> None:
    bare, network = tmp_path / "bare.onnx", onnx.load(NETWORK)
    del network.metadata_props[:]
    onnx.save(network, bare)
    done = exported(bare, tmp_path / "p.onnx", right, wrong)
    assert done.returncode == 0, done.stderr
    verified = odeploy("verify", str(tmp_path / "p.onnx"), "--task", str(TASK))
    assert verified.returncode == 2
    assert "check the scale of the action, the order of the joints and the gains" in verified.stderr
