"""Traced graphs: the intended operators, reproducible bytes, no paths of this machine."""

import hashlib
import subprocess
import sys
from collections import Counter
from pathlib import Path

import onnx
import pytest

from odeploy_export.graphs.flow import SplitFlow
from odeploy_export.graphs.tracing import OPSET, to_bytes, trace_graph
from odeploy_runtime.policy_file.file import parse
from odeploy_sim.catalogue.locomotion import HOPPER
from odeploy_train.modules.ode import solver, uniform_grid
from tests.policies import flow_policy, policy_bytes

_PRINT_HASH = """
import hashlib
from tests.policies import policy_bytes
print(hashlib.sha256(policy_bytes("maze-medium", "flow")).hexdigest())
"""


def test_each_evaluation_costs_one_gemm_per_layer_and_no_time_operator() -> None:
    steps, depth = 3, 3
    graph = SplitFlow(flow_policy(HOPPER, depth=depth), solver("euler"), uniform_grid(steps))
    model = trace_graph(graph, 11, (1, 1, 3))
    count = Counter(node.op_type for node in model.graph.node)
    assert count["Gemm"] == 2 + steps * (depth + 1)  # observation and noise once; each layer in each step
    assert not {"Sin", "Cos", "Concat", "Expand", "Transpose", "Loop", "Add"} & set(count)


def test_steps_share_their_weights() -> None:
    graphs = [SplitFlow(flow_policy(HOPPER), solver("euler"), uniform_grid(steps)) for steps in (1, 9)]
    few, many = (len(trace_graph(graph, 11, (1, 1, 3)).SerializeToString()) for graph in graphs)
    hidden_weights = 2 * 32 * 32 * 4
    assert many - few < 8 * hidden_weights / 2


def test_the_batch_is_dynamic_and_the_opset_is_fixed() -> None:
    model = onnx.load_from_string(policy_bytes("hopper", "flow"))
    dims = {value.name: value.type.tensor_type.shape.dim for value in model.graph.input}
    shapes = {name: [d.dim_param or d.dim_value for d in dim] for name, dim in dims.items()}
    assert shapes == {"observation": ["batch", 11], "noise": ["batch", 1, 1, 3]}
    assert {e.domain: e.version for e in model.opset_import} == {"": OPSET}


@pytest.mark.thorough
def test_two_processes_write_the_same_bytes() -> None:
    command = [sys.executable, "-c", _PRINT_HASH]
    other = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    assert other == hashlib.sha256(policy_bytes("maze-medium", "flow")).hexdigest()


@pytest.mark.parametrize("kind", ["mlp", "flow"])
def test_a_file_contains_no_path_of_this_machine(kind: str) -> None:
    data = policy_bytes("maze-medium", kind)
    for path in (str(Path(__file__).parents[4]), str(Path.home()), "site-packages", ".py"):
        assert path.encode() not in data


def test_writing_the_parsed_manifest_again_gives_the_same_bytes() -> None:
    data = policy_bytes("maze-medium", "flow")
    file = parse(Path("f.onnx"), data)
    model = onnx.load_from_string(data)
    assert to_bytes(model, file.manifest) == data
