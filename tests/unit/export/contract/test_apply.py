"""What an ONNX file's metadata state is applied by the joints' names, or stops the export."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from odeploy_runtime.errors import ContractError, OdeployError
from odeploy_runtime.inference.policy_state import PolicyState
from odeploy_runtime.policy_file.actuation import PD, Actuation
from odeploy_runtime.signals import Signal
from odeploy_sim.tasks.task import Task
from tests.legs import ITS_JOINTS, JOINTS, LEG, METADATA, POSE, SERVO, exported, network, weight

NO_NOISE = np.zeros((1, 0, 0, 0), np.float32)
SCALE = {"hip_joint": 0.1, "knee_joint": 0.25, "ankle_joint": 0.5}


def test_joints_in_another_order_are_permuted_on_both_ends_of_the_graph(tmp_path: Path) -> None:
    model = network(6, METADATA | {"run_path": "/home/someone/run", "seed": "7"})
    policy = exported(model, tmp_path)
    observation = np.array([0.1, 0.2, 0.3, -1.0, -2.0, -3.0], np.float32)  # hip, knee, ankle: angles, velocities
    theirs = np.array([0.2, 0.3, 0.1, -2.0, -3.0, -1.0]) @ weight(model)
    its = dict(zip(ITS_JOINTS, np.tanh(theirs), strict=True))
    expected = [SCALE[joint] * its[joint] for joint in JOINTS]
    assert np.allclose(policy.infer(observation, NO_NOISE)[0], expected, atol=1e-6)
    manifest = policy.manifest
    assert manifest.actuation == SERVO
    assert manifest.provenance["metadata"] == {"run_path": "run", "seed": 7}
    assert manifest.provenance["derived"] == {
        "order of joints": "metadata key joint_names",
        "scale of the action": "metadata key action_scale",
        "actuation, default_pose": "metadata key default_joint_pos",
        "actuation, p_gains": "metadata key joint_stiffness",
        "actuation, d_gains": "metadata key joint_damping",
    }


def test_a_robot_whose_motors_take_setpoints_gets_the_default_pose_as_an_offset(tmp_path: Path) -> None:
    stated = {name: text for name, text in METADATA.items() if "joint_s" not in name and "damping" not in name}
    model = network(6, stated)
    policy = exported(model, tmp_path, replace(LEG, make_arguments={}))
    at_rest = policy.infer(np.zeros(6, np.float32), NO_NOISE)[0]
    assert np.allclose(at_rest, [POSE[joint] for joint in JOINTS], atol=1e-6)
    assert policy.manifest.provenance["derived"]["offset of the action"] == "metadata key default_joint_pos"


def test_gains_become_the_actuation_of_a_task_that_has_none(tmp_path: Path) -> None:
    task = replace(LEG, make_arguments={}, physics_step_s=0.002)
    policy = exported(network(6, METADATA | {"effort_limits": "[139, 50, 88]"}), tmp_path, task)
    expected = PD((40.0, 99.0, 20.0), (2.0, 6.0, 1.0), (0.1, 0.7, -0.4), (88.0, 139.0, 50.0))
    assert policy.manifest.actuation == Actuation(500.0, "hold", expected)


def test_names_of_observation_terms_become_a_recipe(tmp_path: Path) -> None:
    task = replace(
        LEG,
        observation=(
            *(Signal(f"imu_ang_vel_{axis}", "rad/s") for axis in "xyz"),
            *(Signal(f"projected_gravity_{axis}", "1") for axis in "xyz"),
            Signal("forward_velocity", "m/s", -0.5, 0.5),
            Signal("sideways_velocity", "m/s", -0.5, 0.5),
            Signal("turn_rate", "rad/s", -0.5, 0.5),
            *LEG.observation,
        ),
    )
    stated = METADATA | {
        "observation_names": "base_ang_vel,projected_gravity,command,joint_pos,joint_vel,actions",
        "observation_terms_scale": "0.250,1.000,1.000,2.000,0.050,1.000",
        "observation_terms_history_length": "2,0,0,0,0,0",
        "observation_terms_clip": "-inf;inf,-inf;inf,-inf;inf,-inf;inf,-inf;inf,-inf;inf",
        "command_ranges": '{"lin_vel_x": [-1, 1], "lin_vel_y": [-1, 1], "ang_vel_z": [-1, 1]}',
    }
    model = network(6 + 3 + 3 + 3 + 3 + 3, stated)
    policy = exported(model, tmp_path, task)
    recipe, W = policy.manifest.recipe, weight(model)
    assert recipe is not None
    assert recipe.command == ("forward_velocity", "sideways_velocity", "turn_rate")
    state, raw_action, before = PolicyState(policy.manifest, 0), np.zeros(3), np.zeros(3, np.float32)
    for tick in range(3):
        raw = np.random.default_rng(tick).standard_normal(15).astype(np.float32)
        rates, gravity, command, angles, velocities = raw[:3], raw[3:6], raw[6:9], raw[9:12], raw[12:]
        order = [JOINTS.index(joint) for joint in ITS_JOINTS]
        relative = angles - np.array([POSE[joint] for joint in JOINTS])
        terms = [0.25 * (rates if tick == 0 else before), 0.25 * rates, gravity, command]
        terms += [2 * relative[order], 0.05 * velocities[order], raw_action]
        raw_action = np.tanh(np.concatenate(terms) @ W)
        expected = np.array([SCALE[j] * raw_action[ITS_JOINTS.index(j)] for j in JOINTS])
        assert np.allclose(state.answer(policy, 0, 0, tick, raw)[0], expected, atol=1e-5)
        before = rates.copy()


def changed(**stated: str | None) -> dict[str, str]:
    return {name: text for name, text in (METADATA | stated).items() if text is not None}


@pytest.mark.parametrize(
    ("stated", "fragment"),
    [
        (changed(action_scale=None), "joint hip_joint: expected action_scale, which turns its outputs"),
        (changed(joint_names="ankle_joint,knee_joint,hip_joint"), "default_joint_pos, joint ankle_joint"),
        (changed(action_scale="14.3,28.6,5.7"), "joint knee_joint: expected a scale in radians"),
        (changed(default_joint_pos="40.1,-22.9,5.7"), "joint knee_joint: expected an angle within"),
        (changed(default_joint_pos="0.5,-0.4,0.1"), "joint knee_joint: expected 0.7, as the robot of leg has"),
        (changed(joint_stiffness="99,20,41"), "joint_stiffness, joint hip_joint: expected 40, as the"),
        (changed(joint_names="knee,ankle,hop"), "action hip_joint_setpoint: expected a joint of its"),
        (changed(joint_names="knee_joint,ankle_joint,hip_joint,toe_joint"), "joint toe_joint: expected a signal"),
        (changed(joint_names=None), "action_scale: expected joint_names beside it"),
        (changed(action_scale="0.25,0.5"), "expected 3 numbers, one for each joint from knee_joint"),
        (changed(action_scale="0.25,nan,0.1"), "action_scale, joint ankle_joint: expected a finite number"),
        (changed(step_dt="0.01"), "step_dt: expected 0.02 s, the period of leg, got 0.01 s"),
        (changed(observation_names="joint_pos,height_scan"), "term height_scan: expected a known term"),
        (changed(observation_names="joint_pos", default_joint_pos=None), "term joint_pos: expected default_j"),
        (changed(observation_names="joint_pos,joint_vel,actions"), "expected one float32 input (B, 9)"),
    ],
    ids=["scale dropped", "joints swapped", "degrees of a scale", "degrees of a pose", "another pose", "gains",
         "names", "unknown joint", "no names", "sizes", "nan", "rate", "unknown term", "pose dropped", "history"],
)  # fmt: skip
def test_metadata_that_cannot_be_applied_stop_the_export_and_name_the_joint(
    stated: dict[str, str], fragment: str, tmp_path: Path
) -> None:
    with pytest.raises(OdeployError) as refused:
        exported(network(6, stated), tmp_path)
    assert fragment in str(refused.value)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "p.onnx").exists()


def test_gains_for_a_robot_of_torques_stop_the_export(tmp_path: Path) -> None:
    torques = replace(
        LEG, action=tuple(Signal(f"{j}_torque", "N·m", -1.0, 1.0) for j in JOINTS), make_arguments={}
    )
    with pytest.raises(ContractError, match="joint hip_joint: expected actions that are setpoints in rad, got"):
        exported(network(6, METADATA), tmp_path, torques)


def test_an_actuation_of_the_users_replaces_stated_gains(tmp_path: Path) -> None:
    file = tmp_path / "servo.toml"
    pose = list(POSE.values())
    file.write_text(
        'rate_hz = 1000\ninterpolation = "hold"\n[pd]\np_gains_nm_rad = [1, 2, 3]\nd_gains_nms_rad = [1, 1, 1]\n'
        f"default_pose_rad = {pose}\ntorque_limits_nm = [9, 9, 9]\n"
    )
    policy = exported(network(6, METADATA), tmp_path, actuation=file)
    derived = policy.manifest.provenance["derived"]
    assert derived["actuation, p_gains"] == "--actuation instead of metadata key joint_stiffness"


def task_with(**facts: Any) -> Task:
    return replace(LEG, **facts)


def test_a_command_beyond_the_trained_range_stops_the_export(tmp_path: Path) -> None:
    task = task_with(observation=(*LEG.observation, Signal("forward_velocity", "m/s", -2.0, 2.0)))
    with pytest.raises(
        ContractError, match=r"lin_vel_x: expected a range that includes the task's forward_velocity"
    ):
        exported(network(7, METADATA | {"command_ranges": '{"lin_vel_x": [-1, 1]}'}), tmp_path, task)


UNITREE = """
joint_ids_map: [1, 2, 0]
joint_sdk_names: [hip_joint, knee_joint, ankle_joint]
step_dt: 0.02
stiffness: [99.0, 20.0, 40.0]
damping: [6.0, 1.0, 2.0]
default_joint_pos: [0.7, -0.4, 0.1]
commands: {base_velocity: {ranges: {lin_vel_x: [-0.5, 1.0], heading: null}}}
actions:
  JointPositionAction: {clip: null, joint_names: [.*], scale: [0.25, 0.5, 0.1], offset: [0.7, -0.4, 0.1]}
observations:
  joint_pos_rel: {params: {}, clip: null, scale: [1.0, 1.0, 1.0], history_length: 1}
  joint_vel_rel: {params: {}, clip: null, scale: [0.05, 0.05, 0.05], history_length: 1}
  last_action: {params: {}, clip: null, scale: [1.0, 1.0, 1.0], history_length: 1}
"""


def test_unitrees_deploy_yaml_beside_the_policy_is_applied(tmp_path: Path) -> None:
    (tmp_path / "deploy.yaml").write_text(UNITREE)
    model = network(9, {})
    policy = exported(model, tmp_path)
    raw = np.array([0.1, 0.2, 0.3, -1.0, -2.0, -3.0], np.float32)
    relative = [0.2 - 0.7, 0.3 + 0.4, 0.1 - 0.1]
    answer = np.tanh(np.array([*relative, -0.1, -0.15, -0.05, 0, 0, 0]) @ weight(model))
    expected = [0.1 * answer[2], 0.25 * answer[0], 0.5 * answer[1]]
    assert np.allclose(PolicyState(policy.manifest, 0).answer(policy, 0, 0, 0, raw)[0], expected, atol=1e-6)
    assert policy.manifest.provenance["derived"]["scale of the action"] == "key of deploy.yaml action_scale"


def test_unitrees_joints_by_number_alone_stop_the_export(tmp_path: Path) -> None:
    (tmp_path / "deploy.yaml").write_text(UNITREE.replace("joint_sdk_names", "other"))
    with pytest.raises(
        ContractError, match="joint_names, or joint_sdk_names beside joint_ids_map, got joints by number"
    ):
        exported(network(9, {}), tmp_path)


def test_a_motion_inside_the_file_is_named_before_its_metadata_are_applied(tmp_path: Path) -> None:
    model = network(6, {name: text for name, text in METADATA.items() if name != "action_scale"})
    model.graph.input.append(helper.make_tensor_value_info("time_step", TensorProto.FLOAT, [1, 1]))
    model.graph.node.append(helper.make_node("Identity", ["time_step"], ["joint_pos"]))
    model.graph.output.append(helper.make_tensor_value_info("joint_pos", TensorProto.FLOAT, [1, 1]))
    with pytest.raises(ContractError, match=r"time_step float \(1, 1\), and the outputs actions, joint_pos"):
        exported(model, tmp_path)
