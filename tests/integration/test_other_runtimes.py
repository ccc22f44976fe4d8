"""Exported files in other runtimes: onnx's evaluator and OpenVINO give the same actions, bf16 does not."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

from odeploy_export.parity.check import run_in_batches
from odeploy_export.sources.source import Source
from odeploy_runtime.errors import ParityError
from odeploy_runtime.inference.onnx_policy import open_session
from odeploy_runtime.policy_file.file import PolicyFile, read
from odeploy_sim.catalogue.mazes import MAZE_MEDIUM
from tests.best_of_n import best_of_n
from tests.exports import checked, export, rows_of
from tests.policies import flow_policy, recorded, student_policy
from tests.thorough import mostly_thorough
from tests.unit.export.graphs.test_diffusion import denoiser

ROWS = 8
KINDS: dict[str, tuple[Callable[[], Any], dict[str, Any]]] = {
    "mlp": (lambda: student_policy(MAZE_MEDIUM), {}),
    "flow, euler": (lambda: flow_policy(MAZE_MEDIUM), {"steps": 3}),
    "flow, heun": (lambda: flow_policy(MAZE_MEDIUM), {"solver": "heun", "steps": 2}),
    "diffusion": (lambda: denoiser(MAZE_MEDIUM, clip=True), {"steps": 4}),
    "best of 4": (lambda: best_of_n(MAZE_MEDIUM), {"steps": 3, "candidates": 4}),
}

Feed = dict[str, NDArray[np.float32]]


@pytest.fixture(scope="module", params=mostly_thorough(KINDS, 2))
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, PolicyFile]:
    make, options = KINDS[request.param]
    policy, path = make(), tmp_path_factory.mktemp("files") / "policy.onnx"
    source = Source(policy, "test", "p", MAZE_MEDIUM, recorded(MAZE_MEDIUM, rows=256), {})
    export(source, path, **options)
    return policy, read(path)


def inputs(policy: Any, file: PolicyFile) -> Feed:
    rows, noise = rows_of(policy, recorded(MAZE_MEDIUM), file.manifest.noise), file.manifest.noise
    feed = {"observation": rows.observation[:ROWS]}
    return feed if noise.mode == "none" else feed | {"noise": rows.noise[:ROWS]}


def by_onnx_runtime(file: PolicyFile, feed: Feed) -> NDArray[np.float32]:
    session = open_session(file.data, "cpu", "file", rows=max(1, file.manifest.noise.shape[0]))
    action: NDArray[np.float32] = session.run(["action"], feed)[0]
    return action


def test_onnx_itself_gives_the_same_actions(exported: tuple[Any, PolicyFile]) -> None:
    policy, file = exported
    feed = inputs(policy, file)
    (action,) = ReferenceEvaluator(onnx.load_from_string(file.data)).run(["action"], feed)
    assert np.allclose(action, by_onnx_runtime(file, feed), rtol=0, atol=1e-4)


def test_openvino_in_float32_gives_the_same_actions(exported: tuple[Any, PolicyFile]) -> None:
    openvino = pytest.importorskip("openvino")
    policy, file = exported
    feed, core = inputs(policy, file), openvino.Core()
    hints = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    compiled = core.compile_model(core.read_model(file.data), "CPU", hints)
    action = compiled(feed)[compiled.output("action")]
    assert np.allclose(action, by_onnx_runtime(file, feed), rtol=0, atol=1e-4)


def test_the_parity_check_refuses_bf16_and_names_the_signal(exported: tuple[Any, PolicyFile]) -> None:
    """Rounded weights emulate a bf16 runtime: a processor without bf16 would compute in f32."""
    policy, file = exported
    model, manifest = onnx.load_from_string(file.data), file.manifest
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype == np.float32:
            tensor.CopyFrom(numpy_helper.from_array(_to_bf16(values), tensor.name))
    session = open_session(model.SerializeToString(), "cpu", "bf16", rows=max(1, manifest.noise.shape[0]))
    rows = rows_of(policy, recorded(MAZE_MEDIUM), manifest.noise)
    with pytest.raises(ParityError, match=r"bf16, row \d+ .*(signal motor_[xy]|value): expected torch and ONNX"):
        checked(session, policy, manifest.sampler, rows, manifest.action, "bf16")
    if manifest.noise.shape[0] <= 1:
        assert np.abs(run_in_batches(session, rows, 8) - run_in_batches(_session(file), rows, 8)).max() > 1e-3


def _session(file: PolicyFile) -> Any:
    return open_session(file.data, "cpu", "file")


def _to_bf16(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Round to the upper 16 bits, half to even."""
    bits = np.atleast_1d(values).view(np.uint32)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) & np.uint32(0xFFFF0000)
    return rounded.view(np.float32).reshape(values.shape)
