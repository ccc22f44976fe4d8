"""The backend is chosen by name; a missing one is refused before loading."""

import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from odeploy_runtime.errors import MissingError, PolicyFileError, ProviderError
from odeploy_runtime.inference.native_policy import NativePolicy
from odeploy_runtime.inference.onnx_policy import OnnxPolicy
from odeploy_runtime.inference.policy import load_policy, option_of, require_backend
from odeploy_runtime.inference.trial_load import load_tried
from odeploy_runtime.policy_file.file import parse
from tests import recurrent
from tests.policies import policy_bytes

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")


@pytest.mark.parametrize(("provider", "kind"), [("cpu", OnnxPolicy), ("native", NativePolicy)])
def test_each_name_loads_its_backend(provider: str, kind: type) -> None:
    policy = load_policy(parse(Path("p.onnx"), policy_bytes("multigoal-2d")), provider)
    assert isinstance(policy, kind)
    assert policy.golden_error <= 1e-5
    assert policy.hot_call_ns > 0


@pytest.mark.parametrize(("backend", "option"), [("CPUExecutionProvider", "cpu"), ("native", "native"), ("", "")])
def test_a_reports_name_of_a_backend_gives_its_option(backend: str, option: str) -> None:
    assert option_of(backend) == option


def test_auto_is_the_native_backend_with_a_compiler() -> None:
    assert load_policy(parse(Path("p.onnx"), policy_bytes("multigoal-2d")), "auto").provider == "native"


def test_auto_is_onnx_runtime_for_what_native_does_not_compute_and_one_line_says_why(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    policy = load_tried(parse(Path("gru.onnx"), recurrent.policy_bytes()), "auto")
    assert policy.provider == "CPUExecutionProvider"
    assert caplog.messages == [
        "ONNX Runtime, not native: expected a policy of one row without a state, got a recurrent policy"
    ]


def test_auto_is_onnx_runtime_without_a_compiler(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def missing() -> None:
        raise MissingError(where="cc", expected="a C compiler", got="none", remedy="install one")

    monkeypatch.setattr("odeploy_runtime.inference.native_policy.native_library", missing)
    caplog.set_level("INFO")
    file = parse(Path("p.onnx"), policy_bytes("multigoal-2d"))
    assert load_policy(file, "auto").provider == "CPUExecutionProvider"
    assert caplog.messages == ["ONNX Runtime, not native: expected a C compiler, got none"]
    with pytest.raises(MissingError):
        load_policy(file, "native")


def test_auto_warns_if_the_native_backend_answers_otherwise(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    idle = SimpleNamespace(run=lambda steps, count: None)
    monkeypatch.setattr("odeploy_runtime.inference.native_policy.native_library", lambda: idle)
    policy = load_policy(parse(Path("p.onnx"), policy_bytes("multigoal-2d")), "auto")
    assert policy.provider == "CPUExecutionProvider"
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_a_file_that_onnx_runtime_refuses_is_refused_by_auto_too() -> None:
    file = parse(Path("p.onnx"), policy_bytes("multigoal-2d"))
    row = file.manifest.golden[0]
    wrong = replace(file.manifest, golden=(replace(row, action=tuple(value + 1 for value in row.action)),))
    with pytest.raises(PolicyFileError, match="golden row 0"):
        load_policy(replace(file, manifest=wrong), "auto")


def test_a_missing_provider_is_refused_with_the_available_ones() -> None:
    require_backend("native")
    require_backend("auto")
    require_backend("cpu")
    with pytest.raises(ProviderError, match="cpu"):
        require_backend("tpu")
