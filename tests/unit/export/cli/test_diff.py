"""`odeploy diff`: equal files are reported as equal, other files by their differences alone."""

import dataclasses
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from odeploy_export.cli.diff import behaviour_lines, graph_lines, main, manifest_lines
from odeploy_export.graphs.tracing import to_bytes
from odeploy_runtime.policy_file.file import PolicyFile, parse, read
from odeploy_runtime.signals import Signal
from odeploy_sim.catalogue.locomotion import HOPPER, WALKER2D
from odeploy_sim.experts.trained import trained
from tests.hostile_text import CLEARS_SCREEN, CLOSES_TAG, assert_harmless, with_texts


def expert() -> PolicyFile:
    path = trained(HOPPER)
    assert path is not None
    return read(path)


def changed(add: float = 0.0, **fields: object) -> PolicyFile:
    """Hopper's expert with a number added to the last bias, or with other fields in its manifest."""
    file = expert()
    model = onnx.load_from_string(file.data)
    del model.metadata_props[:]
    if add:
        tensor = next(t for t in model.graph.initializer if t.name == "bias.2")
        bias = numpy_helper.to_array(tensor) + np.array([0, add, 0], np.float32)
        tensor.CopyFrom(numpy_helper.from_array(bias, "bias.2"))
    manifest = dataclasses.replace(file.manifest, **fields)  # type: ignore[arg-type]
    return parse(Path("changed.onnx"), to_bytes(model, manifest))


def graph(file: PolicyFile) -> onnx.GraphProto:
    return onnx.load_from_string(file.data).graph


def test_a_file_and_its_copy_are_equal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy = tmp_path / "copy.onnx"
    copy.write_bytes(expert().data)
    main([str(trained(HOPPER)), str(copy)])
    assert capsys.readouterr().out.startswith("the files are equal: fingerprint ")


@pytest.mark.parametrize("text", [CLEARS_SCREEN, CLOSES_TAG])
def test_no_text_of_a_manifest_controls_the_terminal(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other.onnx"
    other.write_bytes(changed(**vars(with_texts(expert().manifest, text))).data)
    main([str(trained(HOPPER)), str(other)])
    printed = capsys.readouterr().out
    assert_harmless(printed)
    assert "[" in printed


def test_equal_parts_are_reported_as_equal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / "other.onnx"
    other.write_bytes(changed(name="other").data)
    main([str(trained(HOPPER)), str(other)])
    out = capsys.readouterr().out
    assert "graph: equal" in out
    assert "golden rows: equal" in out
    assert "$.name" in out
    assert "$.task" not in out


def test_only_the_fields_that_differ_are_listed() -> None:
    thigh, *others = HOPPER.action
    other = changed(
        rate_hz=50.0, action=(dataclasses.replace(thigh, high=0.5), *others), provenance={"new": [1, 2]}
    )
    lines = {path: (a, b) for path, a, b in manifest_lines(expert().manifest, other.manifest)}
    assert lines["$.rate_hz"] == ("125.0", "50.0")
    assert lines["$.action[0]"][1] == "name thigh_joint_torque, unit 200 N·m, low -1.0, high 0.5"
    assert lines["$.provenance.new"] == ("–", "[1, 2]")
    assert lines["$.provenance.seed"] == ("0", "–")
    assert {path.split(".")[1].split("[")[0] for path in lines} == {"rate_hz", "action", "provenance"}


def test_golden_rows_are_one_line() -> None:
    golden = expert().manifest.golden
    (line,) = manifest_lines(expert().manifest, changed(golden=golden[:2]).manifest)
    assert line[0] == "$.golden"
    assert line[1].startswith("8 rows, SHA-256 ")
    assert line[2].startswith("2 rows, SHA-256 ")


def test_a_changed_weight_is_named_with_its_largest_difference() -> None:
    assert graph_lines(graph(expert()), graph(changed(add=0.25))) == [
        ("weight bias.2", "(3,)", "max difference 0.25")
    ]


def test_weights_of_other_shapes_are_listed_and_operators_are_counted() -> None:
    walker = trained(WALKER2D)
    assert walker is not None
    lines = graph_lines(graph(expert()), graph(read(walker)))
    assert ("weight weight.0", "(64, 11)", "(64, 17)") in lines
    more = graph(expert())
    more.node.append(helper.make_node("Tanh", ["action"], ["more"]))
    assert ("operator Tanh", "2", "3") in graph_lines(graph(expert()), more)


def test_nodes_with_other_inputs_are_counted_and_the_first_is_shown() -> None:
    rewired = graph(expert())
    rewired.node[0].input[1] = "scale"
    assert graph_lines(graph(expert()), rewired) == [
        ("wiring of 1 nodes", "node 0: Sub(observation, mean)", "node 0: Sub(observation, scale)")
    ]


def test_the_largest_difference_is_listed_per_signal() -> None:
    answers = changed(add=-0.01)
    lines = {what.split(",")[0]: (a, b) for what, a, b in behaviour_lines(expert(), answers)}
    assert set(lines) == set(HOPPER.action_names)
    assert lines["leg_joint_torque"][1].startswith("0.01 ")
    assert float(lines["thigh_joint_torque"][1].split()[0]) <= 1e-5


def test_files_with_equal_answers_have_no_line() -> None:
    assert behaviour_lines(expert(), changed(name="other")) == []


def test_answers_of_files_with_other_signals_are_not_compared() -> None:
    other = Signal("other", "1")
    renamed = (other, *HOPPER.action[1:])
    assert behaviour_lines(expert(), changed(action=renamed)) == [("not comparable", "other action names", "")]
