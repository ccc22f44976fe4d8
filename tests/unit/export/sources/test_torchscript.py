"""TorchScript archives, scripted and traced, with loops and with noise."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from odeploy_export.options import ReadingOptions
from odeploy_export.pipeline import export_policy
from odeploy_export.sources.external import from_external
from odeploy_export.sources.torchscript import from_torchscript
from odeploy_runtime.errors import OdeployError
from odeploy_runtime.inference.onnx_policy import OnnxPolicy
from odeploy_sim.catalogue.locomotion import HOPPER, WALKER2D
from tests.policies import recorded


class Loops(nn.Module):
    """A module whose forward is a loop."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last = nn.Linear(11, 16), nn.Linear(16, 3)

    def forward(self, observation: Tensor) -> Tensor:
        h = torch.tanh(2 * self.first(observation))
        for i in range(3):
            h = h + 0.5 * torch.sin(h * (i + 1))
        return 2 * self.last(h)  # type: ignore[no-any-return]


class Noisy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(11 + 2, 3)

    def forward(self, observation: Tensor, noise: Tensor) -> Tensor:
        return torch.tanh(self.net(torch.cat([observation, noise], dim=1)))


class Decomposes(nn.Module):
    def forward(self, observation: Tensor) -> Tensor:
        values: Tensor = torch.linalg.eigh(observation[:, :9].reshape(-1, 3, 3))[0]
        return values


def saved(module: nn.Module, path: Path, traced: bool = False) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made: Any = torch.jit.trace(module, torch.zeros(2, 11)) if traced else torch.jit.script(module)  # type: ignore[no-untyped-call]
        made.save(path)
    return path


@pytest.mark.parametrize("traced", [False, True], ids=["scripted", "traced"])
def test_the_file_of_an_archive_matches_torch(
    traced: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    module = Loops().eval()
    external = from_torchscript(saved(module, tmp_path / "m.pt", traced), HOPPER, 0)
    manifest = export_policy(
        from_external(external, HOPPER, recorded(HOPPER), reading=ReadingOptions(squash="clip")),
        tmp_path / "p.onnx",
    )
    assert (manifest.method, manifest.name, manifest.provenance["class"]) == ("torchscript", "hopper-m", "Loops")
    assert manifest.parity[0].batches == (1, 3, 8)
    assert caplog.messages[0].startswith("torchscript: loading the archive runs its program")
    policy, no_noise = OnnxPolicy.load(tmp_path / "p.onnx"), np.zeros((1, 0, 0, 0), np.float32)
    with torch.no_grad():
        expected = module(torch.from_numpy(recorded(HOPPER))).clamp(-1, 1).numpy()
    got = np.stack([policy.infer(o, no_noise)[0].copy() for o in recorded(HOPPER)])
    assert np.allclose(got, expected, atol=1e-5)


def test_the_file_of_an_archive_with_noise_matches_torch(tmp_path: Path) -> None:
    module = Noisy()
    external = from_torchscript(saved(module, tmp_path / "m.pt"), HOPPER, 2)
    manifest = export_policy(
        from_external(external, HOPPER, recorded(HOPPER), reading=ReadingOptions(squash="clip")),
        tmp_path / "p.onnx",
    )
    assert manifest.noise.shape == (1, 1, 2)
    observation, noise = recorded(HOPPER)[:1], np.array([[0.5, -2]], np.float32)
    with torch.no_grad():
        expected = module(torch.from_numpy(observation), torch.from_numpy(noise)).numpy()
    got = OnnxPolicy.load(tmp_path / "p.onnx").infer(observation[0], noise.reshape(1, 1, 1, 2))
    assert np.allclose(got, expected, atol=1e-5)


def test_an_unsupported_archive_is_refused_in_one_line(tmp_path: Path) -> None:
    refusals = []
    for module, task in ((Decomposes(), HOPPER), (Loops(), WALKER2D)):
        with pytest.raises(OdeployError) as refused:
            from_torchscript(saved(module, tmp_path / "m.pt"), task, 0)
        refusals.append(str(refused.value))
    assert "expected operators of ONNX opset 18, got aten::linalg_eigh; script" in refusals[0]
    assert "expected a forward that takes observation (B, 17): task walker2d has 17" in refusals[1]
    assert all("\n" not in message for message in refusals)


def test_a_missing_file_or_one_that_is_not_an_archive_is_refused(tmp_path: Path) -> None:
    torch.save({"w": torch.zeros(3)}, tmp_path / "state.pt")
    (tmp_path / "text.pt").write_bytes(b"hello")
    for name in ("state.pt", "text.pt"):
        with pytest.raises(
            OdeployError, match=r"expected a TorchScript archive, got .*; save it with torch.jit.save"
        ):
            from_torchscript(tmp_path / name, HOPPER, 0)
    with pytest.raises(OdeployError, match="expected a TorchScript archive, got No such file"):
        from_torchscript(tmp_path / "none.pt", HOPPER, 0)


class OnGpu(nn.Module):
    """A layer whose program names a GPU, as one does that was traced there."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(11, 3)

    def forward(self, observation: Tensor) -> Tensor:
        return torch.tanh(self.layer(observation) + torch.full((3,), 0.5, device=torch.device("cuda:0")))


def test_a_program_that_names_a_gpu_is_exported_on_the_cpu(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(OnGpu())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch deprecates TorchScript
        torch.jit.script(module).save(str(tmp_path / "m.pt"))  # type: ignore[no-untyped-call]
    external = from_torchscript(tmp_path / "m.pt", HOPPER, 0)
    export_policy(from_external(external, HOPPER, recorded(HOPPER, 64)), tmp_path / "p.onnx")
    policy, row = OnnxPolicy.load(tmp_path / "p.onnx"), recorded(HOPPER)[2]
    with torch.no_grad():
        expected = torch.tanh(module[0].layer(torch.from_numpy(row)) + 0.5).numpy()  # type: ignore[operator]
    assert np.allclose(policy.infer(row, np.zeros((1, 0, 0, 0), np.float32))[0], expected, atol=1e-5)
