import pytest
import torch

from odeploy_runtime.errors import MissingError
from odeploy_train.runs.device import Device, chosen, require_compiler


@pytest.mark.parametrize(
    ("requested", "present", "got"), [("auto", True, "cuda"), ("auto", False, "cpu"), ("cpu", True, "cpu")]
)
def test_an_available_gpu_is_used_unless_another_device_is_given(
    monkeypatch: pytest.MonkeyPatch, requested: Device, present: bool, got: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: present)
    assert chosen(requested) == got


def test_a_requested_gpu_that_is_missing_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(MissingError, match="--device cuda: expected a GPU"):
        chosen("cuda")


def test_compiling_without_a_compiler_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(MissingError, match=r"--compile: expected the C\+\+ compiler"):
        require_compiler()
