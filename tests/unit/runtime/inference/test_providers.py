"""A provider computes the whole graph in float32, or is refused."""

import numpy as np
import onnxruntime as ort
import pytest
from onnx import helper

from odeploy_runtime.errors import ProviderError
from odeploy_runtime.inference.onnx_policy import open_session
from odeploy_runtime.inference.providers import PROVIDERS, provider_options, require_available, require_in_use
from tests.unit.runtime.models import graph_with_initializer, inside, model, value


def graph() -> bytes:
    return bytes(model(graph_with_initializer(inside())).SerializeToString())


def test_the_cpu_provider_is_available_and_computes() -> None:
    session = open_session(graph(), "cpu", "graph")
    (sums,) = session.run(["y"], {"x": np.array([10, 20], np.float32)})
    assert sums.tolist() == [11, 22]


def test_an_unknown_provider_is_refused_with_the_machines_ones() -> None:
    with pytest.raises(
        ProviderError, match=r"--provider: expected one of cpu.* on this machine, got npu; choose one"
    ):
        open_session(graph(), "npu", "graph")


@pytest.mark.parametrize(
    ("provider", "comes_with"), [("cuda", "CUDA with cuDNN"), ("tensorrt", "TensorRT"), ("openvino", "`openvino`")]
)
def test_a_provider_that_is_not_installed_is_refused_with_its_package(
    provider: str, comes_with: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(
        ProviderError, match=f"expected one of cpu on this machine, got {provider}; .*{comes_with}"
    ):
        require_available(provider)


def test_a_provider_missing_in_its_session_is_refused() -> None:
    session = open_session(graph(), "cpu", "graph")
    with pytest.raises(ProviderError, match=r"expected CUDAExecutionProvider, got CPU\w+ \(silent fallback\)"):
        require_in_use(session, "cuda", "graph")


def test_a_provider_that_leaves_operators_to_the_cpu_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    partial = "AzureExecutionProvider"  # in the CPU's own package; it computes none of our operators
    if partial not in ort.get_available_providers():
        pytest.skip("this build of ONNX Runtime has no provider that leaves operators to the CPU")
    monkeypatch.setitem(PROVIDERS, "cuda", partial)
    monkeypatch.setattr("odeploy_runtime.inference.providers._IN_FULL_PRECISION", {})
    with pytest.raises(ProviderError, match="computes by itself, got operators that it would leave to the CPU"):
        open_session(graph(), "cuda", "graph")


def test_all_providers_are_configured_for_float32() -> None:
    assert provider_options("cuda", 1) == {"use_tf32": "0"}
    assert provider_options("openvino", 2) == {"device_type": "CPU", "precision": "FP32", "num_of_threads": "2"}
    assert provider_options("cpu", 1) == {}


def test_an_installed_openvino_computes() -> None:
    if PROVIDERS["openvino"] not in ort.get_available_providers():
        pytest.skip("needs onnxruntime-openvino")
    session = open_session(graph(), "openvino", "graph")
    (sums,) = session.run(["y"], {"x": np.array([10, 20], np.float32)})
    assert (sums.tolist(), session.get_providers()[0]) == ([11, 22], "OpenVINOExecutionProvider")


def test_openvino_with_an_unsupported_operator_is_refused() -> None:
    if PROVIDERS["openvino"] not in ort.get_available_providers():
        pytest.skip("needs onnxruntime-openvino")
    node = helper.make_node("Inverse", ["x"], ["y"], domain="com.microsoft")
    unsupported = model(
        helper.make_graph([node], "policy", [value("x", shape=(2, 2))], [value("y", shape=(2, 2))])
    )
    unsupported.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    with pytest.raises(ProviderError, match="OpenVINOExecutionProvider computes by itself"):
        open_session(unsupported.SerializeToString(), "openvino", "graph")
