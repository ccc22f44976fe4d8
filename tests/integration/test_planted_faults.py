"""Common mistakes, each planted in a valid policy file: parity check or doctor identifies it."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from odeploy_export.graphs.tracing import to_bytes, trace_graph
from odeploy_export.parity.check import run_in_batches
from odeploy_runtime.inference.onnx_policy import open_session
from odeploy_runtime.policy_file.file import read
from odeploy_runtime.policy_file.manifest import MANIFEST_VERSION, GoldenRow, Manifest, Noise, Parity, Sampler
from odeploy_runtime.realtime.clock import MonotonicClock
from odeploy_sim.catalogue.locomotion import HOPPER
from odeploy_sim.doctor.examine import Examination, examine
from odeploy_sim.doctor.findings import Finding
from odeploy_sim.experts.trained import trained
from odeploy_train.modules.ode import EULER, uniform_grid
from tests.exports import rows_of
from tests.generic_unroll import GenericUnroll
from tests.integration.programs import odeploy
from tests.integration.runs import saved_run
from tests.policies import recorded
from tests.thorough import mostly_thorough

Fault = Callable[[onnx.ModelProto], None]
Numbers = NDArray[Any]


def expert() -> Path:
    path = trained(HOPPER)
    assert path is not None
    return path


def faulty(folder: Path, fault: Fault, golden: bool = True) -> Path:
    """Write hopper's expert with a fault; golden rows come from the faulty graph, so they match."""
    file = read(expert())
    model = onnx.load_from_string(file.data)
    fault(model)
    del model.metadata_props[:]
    session = open_session(model.SerializeToString(), "cpu", "faulty")
    rows = []
    for row in file.manifest.golden if golden else ():
        (action,) = session.run(["action"], {"observation": np.array([row.observation], np.float32)})
        rows.append(GoldenRow(row.observation, (), tuple(map(float, action.ravel()))))
    path = folder / "faulty.onnx"
    path.write_bytes(to_bytes(model, dataclasses.replace(file.manifest, golden=tuple(rows))))
    return path


def errors(path: Path, check: str) -> list[Finding]:
    seen = examine(read(path), HOPPER, episodes=3, seed=1, clock=MonotonicClock())
    return [f for f in seen.findings if f.severity == "error" and f.check == check]


def _weights(model: onnx.ModelProto, name: str, change: Callable[[Numbers], Numbers]) -> None:
    tensor = next(t for t in model.graph.initializer if t.name == name)
    tensor.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(tensor)).astype(np.float32), name))


def _swapped(model: onnx.ModelProto) -> None:
    for name in ("weight.2", "bias.2"):
        _weights(model, name, lambda w: w[[1, 0, 2]])


def _random(model: onnx.ModelProto) -> None:
    rng = np.random.default_rng(0)
    for name in ("weight.0", "weight.1", "weight.2"):
        _weights(model, name, lambda w: rng.standard_normal(w.shape) / np.sqrt(w.shape[1]))


def _no_normaliser(model: onnx.ModelProto) -> None:
    _weights(model, "mean", np.zeros_like)
    _weights(model, "scale", np.ones_like)


def _last_clip(model: onnx.ModelProto) -> onnx.NodeProto:
    last: onnx.NodeProto = [node for node in model.graph.node if node.op_type == "Clip"][-1]
    return last


def _no_bounds(model: onnx.ModelProto) -> None:
    clip = _last_clip(model)
    clip.op_type = "Identity"
    del clip.input[1:]


def _tanh_twice(model: onnx.ModelProto) -> None:
    _weights(model, "weight.2", lambda w: 10 * w)  # as saturated as a policy trained with a tanh
    clip, place = _last_clip(model), len(model.graph.node) - 2
    once, twice = (("Tanh", [a], [b]) for a, b in ((clip.input[0], "once"), ("once", clip.output[0])))
    model.graph.node.remove(clip)
    for i, node in enumerate((once, twice)):
        model.graph.node.insert(place + i, helper.make_node(*node))


def _dead_input(model: onnx.ModelProto) -> None:
    _weights(model, "weight.0", lambda w: w * (np.arange(11) != 3))


def _nan(model: onnx.ModelProto) -> None:
    _weights(model, "bias.1", lambda b: np.where(np.arange(len(b)) == 5, np.nan, b))


def test_the_expert_itself_has_no_findings_above_a_note() -> None:
    seen: Examination = examine(read(expert()), HOPPER, episodes=3, seed=1, clock=MonotonicClock())
    assert [f for f in seen.findings if f.severity != "note" and f.check != "too slow"] == []
    assert len(seen.facts) == 3


def test_swapped_joints_are_named(tmp_path: Path) -> None:
    (finding,) = errors(faulty(tmp_path, _swapped), "permuted joints")
    assert finding.where == "thigh_joint_torque, leg_joint_torque"
    assert "thigh_joint_torque follows the expert's leg_joint_torque (correlation 1.00" in finding.seen


@pytest.mark.parametrize("fault", mostly_thorough([_no_normaliser, _random, _swapped]))
def test_faults_that_only_the_score_reveals(tmp_path: Path, fault: Fault) -> None:
    (finding,) = errors(faulty(tmp_path, fault), "score")
    assert "hardly better than standing still" in finding.seen
    assert "weights are trained" in finding.remedy
    assert "normalisers" in finding.remedy


def test_a_dropped_bound_is_an_error_for_each_action(tmp_path: Path) -> None:
    found = errors(faulty(tmp_path, _no_bounds), "beyond limits")
    assert {f.where for f in found} == set(HOPPER.action_names)
    assert all("outside [-1.0, 1.0]" in f.seen for f in found)


def test_a_second_tanh_is_an_error(tmp_path: Path) -> None:
    (finding,) = errors(faulty(tmp_path, _tanh_twice), "tanh twice")
    assert "0.7616" in finding.seen


def test_nan_weights_are_an_error(tmp_path: Path) -> None:
    (finding,) = errors(faulty(tmp_path, _nan, golden=False), "not finite")
    assert "NaN among the weights" in finding.remedy


def test_a_dead_input_is_a_warning(tmp_path: Path) -> None:
    seen = examine(read(faulty(tmp_path, _dead_input)), HOPPER, episodes=1, seed=1, clock=MonotonicClock())
    (finding,) = (f for f in seen.findings if f.check == "dead input")
    assert (finding.severity, finding.where) == ("warning", "leg_joint_angle")


def test_verify_ends_with_2_and_one_line_on_an_error(tmp_path: Path) -> None:
    result = odeploy("verify", str(faulty(tmp_path, _no_bounds)), "--task", "hopper", "--episodes", "1")
    assert result.returncode == 2
    assert "beyond limits" in result.stdout
    assert result.stderr.startswith("odeploy verify: ")
    assert result.stderr.count("\n") == 1
    assert "expected a file without errors" in result.stderr


def test_verify_of_a_valid_file_ends_with_0() -> None:
    result = odeploy("verify", str(expert()), "--task", "hopper", "--episodes", "1")
    assert result.returncode == 0, result.stderr
    assert "score: 3" in result.stdout
    assert "doctor: not run" not in result.stdout


def test_a_file_of_another_task_is_detected_by_its_signals() -> None:
    result = odeploy("verify", str(expert()), "--task", "walker2d")
    assert result.returncode == 2
    assert "signals, observation" in result.stderr


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("steps_back", "spoil", "fragment"),
    [(True, False, "as if time ran backwards, from t = 1 to 0"), (False, True, "NaN or infinity")],
    ids=["wrong time direction", "NaN weights"],
)
def test_the_parity_check_against_the_run_names_the_fault(
    tmp_path: Path, steps_back: bool, spoil: bool, fragment: str
) -> None:
    policy = saved_run(tmp_path / "run", HOPPER)
    noise, sampler = Noise("normal", (1, 1, 3)), Sampler("euler", 3, uniform_grid(3))
    t_grid = sampler.t_grid[::-1] if steps_back else sampler.t_grid
    if spoil:
        policy.velocity.last.weight.data[0, 0] = torch.nan
    model = trace_graph(GenericUnroll(policy, EULER, t_grid, constant_time=True), 11, noise.shape)
    rows = rows_of(policy, recorded(HOPPER), noise)
    actions = run_in_batches(open_session(model.SerializeToString(), "cpu", "faulty"), rows, 1)
    golden = GoldenRow(*(tuple(map(float, v[0].ravel())) for v in (rows.observation, rows.noise, actions)))
    manifest = Manifest(
        version=MANIFEST_VERSION,
        name="faulty",
        method="fpo",
        kind="flow",
        task="hopper",
        rate_hz=HOPPER.rate_hz,
        horizon=1,
        observation=HOPPER.observation,
        action=HOPPER.action,
        action_semantics="test",
        noise=noise,
        sampler=sampler,
        parity=(Parity("CPUExecutionProvider", 0.0, 1e-5, 1, (1,)),),
        golden=() if spoil else (golden,),
        provenance={},
    )
    path = tmp_path / "faulty.onnx"
    path.write_bytes(to_bytes(model, manifest))
    result = odeploy("verify", str(path), "--run", str(tmp_path / "run"))
    assert result.returncode == 2
    assert fragment in result.stderr
