"""The backend is chosen by name; a missing one is refused before loading."""

from pathlib import Path

import pytest

from odeploy_runtime.errors import ProviderError
from odeploy_runtime.inference.native_policy import NativePolicy
from odeploy_runtime.inference.onnx_policy import OnnxPolicy
from odeploy_runtime.inference.policy import backend_name, load_policy, require_backend
from odeploy_runtime.policy_file.file import parse
from tests.policies import policy_bytes


@pytest.mark.parametrize(("provider", "kind"), [("cpu", OnnxPolicy), ("native", NativePolicy)])
def test_each_name_loads_its_backend(provider: str, kind: type) -> None:
    policy = load_policy(parse(Path("p.onnx"), policy_bytes("multigoal-2d")), provider)
    assert isinstance(policy, kind)
    assert policy.golden_error <= 1e-5
    assert policy.hot_call_ns > 0


def test_reports_use_onnx_runtimes_names() -> None:
    assert (backend_name("cpu"), backend_name("native")) == ("CPUExecutionProvider", "native")


def test_a_missing_provider_is_refused_with_the_available_ones() -> None:
    require_backend("native")
    require_backend("cpu")
    with pytest.raises(ProviderError, match="cpu"):
        require_backend("tpu")
