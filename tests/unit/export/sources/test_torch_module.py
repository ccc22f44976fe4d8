"""The user's torch module: its file matches torch, or it is refused by layer and size."""

import doctest
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from odeploy_export import pipeline
from odeploy_export.options import ReadingOptions
from odeploy_export.pipeline import export_module, export_policy
from odeploy_export.sources.external import from_external
from odeploy_export.sources.torch_module import from_module
from odeploy_runtime.errors import OdeployError
from odeploy_runtime.inference.noise import NoiseSource
from odeploy_runtime.inference.onnx_policy import OnnxPolicy
from odeploy_runtime.policy_file.manifest import Manifest, Noise
from odeploy_sim.catalogue.locomotion import HOPPER
from tests.policies import recorded

O, A, H, D = 11, 3, 2, 5  # noqa: E741
NO_NOISE = np.zeros((1, 0, 0, 0), np.float32)


class Net(nn.Module):
    """A network with large weights, so that a wrong graph shows; `head` comes last."""

    def __init__(self, head: nn.Module | None = None, out: int = A) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(
            nn.Linear(O, 32), nn.BatchNorm1d(32), nn.Dropout(0.5), nn.Tanh(), nn.Linear(32, out)
        )
        self.head = head or nn.Identity()
        for parameter in self.parameters():
            parameter.data *= 3

    def forward(self, observation: Tensor) -> Tensor:
        answer: Tensor = self.head(self.body(observation))
        return answer


class Noisy(nn.Module):
    """A module that maps observation and noise to a chunk of H actions."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Linear(O + D, H * A)

    def forward(self, observation: Tensor, noise: Tensor) -> Tensor:
        return torch.tanh(self.net(torch.cat([observation, noise], dim=1))).reshape(-1, H, A)


class Single(nn.Module):
    """A module that runs only in float32."""

    def forward(self, observation: Tensor) -> Tensor:
        return observation[:, :A] @ torch.eye(A, dtype=torch.float32)


class Branches(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return -x if x.sum() > 0 else x


class Centres(nn.Module):
    """A module whose rows depend on the rest of their batch."""

    def forward(self, x: Tensor) -> Tensor:
        return x - x.mean(dim=0)


class Decomposes(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        values: Tensor = torch.linalg.svd(x.reshape(-1, A, 1))[1]
        return x * values


class Answers(nn.Module):
    def __init__(self, what: Any) -> None:
        super().__init__()
        self.what = what

    def forward(self, x: Tensor) -> Any:
        return self.what(x)


def export(module: nn.Module, out: Path, **options: Any) -> Manifest:
    clipped = ReadingOptions(squash="clip")
    return export_module(module, HOPPER, out, recorded=recorded(HOPPER, 200), **({"reading": clipped} | options))


def test_the_docstrings_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (example,) = (e for e in doctest.DocTestFinder().find(pipeline) if e.name.endswith(".export_module"))
    result = doctest.DocTestRunner().run(example)
    assert (result.failed, result.attempted) == (0, 3)
    assert OnnxPolicy.load(Path("hopper.onnx")).golden_error <= 1e-5


def test_the_file_matches_torch_clipped_to_the_limits(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    module = Net().train()
    manifest = export(module, tmp_path / "p.onnx", name="mine")
    assert (manifest.name, manifest.method, manifest.kind) == ("mine", "torch module", "mlp")
    assert manifest.provenance["class"] == "Net"
    assert module.training  # the export works on a copy
    policy = OnnxPolicy.load(tmp_path / "p.onnx")
    with torch.no_grad():
        expected = module.eval()(torch.from_numpy(recorded(HOPPER))).clamp(-1, 1).numpy()
    got = np.stack([policy.infer(o, NO_NOISE)[0].copy() for o in recorded(HOPPER)])
    assert np.allclose(got, expected, atol=1e-5)
    assert caplog.messages[-1].endswith("actions exceed the task's and are clipped")


def test_a_module_with_noise_gets_the_runtimes_draws(tmp_path: Path) -> None:
    module = Noisy()
    manifest = export(module, tmp_path / "p.onnx", noise_size=D)
    assert (manifest.noise, manifest.horizon) == (Noise("normal", (1, 1, D)), H)
    policy, observation = OnnxPolicy.load(tmp_path / "p.onnx"), recorded(HOPPER)[0]
    draw = NoiseSource(manifest.noise, seed=1).draw(0, 0)
    with torch.no_grad():
        expected = module(torch.from_numpy(observation[None]), torch.from_numpy(draw).reshape(1, D))[0].numpy()
    assert np.allclose(policy.infer(observation, draw), expected, atol=1e-5)
    assert export(module, tmp_path / "z.onnx", noise_size=D, noise="zero").noise.mode == "zero"


def test_a_module_that_runs_only_in_float32_is_exported_with_a_log_message(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    export(Single(), tmp_path / "p.onnx")
    assert any(line.startswith("torch: compared in float32 alone") for line in caplog.messages)


class Centred(nn.Module):
    """A module that changes its input, and integrates on its noise, in place."""

    def __init__(self, noisy: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.noisy, self.net = noisy, nn.Linear(O, A)

    def forward(self, observation: Tensor, noise: Tensor | None = None) -> Tensor:
        observation.sub_(0.5)
        if noise is None:
            return torch.tanh(self.net(observation))
        for _ in range(3):
            noise.add_(0.3 * torch.tanh(self.net(observation) - noise[:, :A]).repeat(1, 2)[:, :D])
        return torch.tanh(noise[:, :A])


@pytest.mark.parametrize("noise_size", [0, D], ids=["observation", "noise"])
def test_a_module_that_changes_its_input_in_place_matches_torch(noise_size: int, tmp_path: Path) -> None:
    module, rows = Centred(noise_size > 0), recorded(HOPPER)
    seen = rows.copy()
    manifest = export_module(module, HOPPER, tmp_path / "p.onnx", recorded=seen, noise_size=noise_size)
    assert (seen == rows).all()
    policy, draw = OnnxPolicy.load(tmp_path / "p.onnx"), NoiseSource(manifest.noise, seed=1).draw(0, 0)
    noise = [torch.from_numpy(draw.reshape(1, D).copy())] if noise_size else []
    with torch.no_grad():
        expected = module(torch.from_numpy(rows[:1].copy()), *noise).numpy()
    assert np.allclose(policy.infer(rows[0], draw), expected, atol=1e-5)


@pytest.mark.parametrize(
    "answer", [lambda x: (x[:, :1], x), lambda x: {"value": x[:, :1], "action": x}], ids=["tuple", "dictionary"]
)
def test_the_only_output_of_the_actions_size_is_exported(answer: Any, tmp_path: Path) -> None:
    module = Net(Answers(answer)).eval()
    assert export(module, tmp_path / "p.onnx").provenance["class"] == "Net"
    policy, row = OnnxPolicy.load(tmp_path / "p.onnx"), recorded(HOPPER)[0]
    with torch.no_grad():
        expected = module.body(torch.from_numpy(row[None])).clamp(-1, 1).numpy()
    assert np.allclose(policy.infer(row, NO_NOISE), expected, atol=1e-5)


def test_one_of_several_outputs_is_named_by_its_number(tmp_path: Path) -> None:
    module = Net(Answers(lambda x: (x, torch.tanh(x)))).eval()
    external = from_module(module, HOPPER, 0, "net.py:Net", output="1")
    export_policy(from_external(external, HOPPER, recorded(HOPPER, 64)), tmp_path / "p.onnx")
    policy, row = OnnxPolicy.load(tmp_path / "p.onnx"), recorded(HOPPER)[0]
    with torch.no_grad():
        expected = module(torch.from_numpy(row[None]))[1].numpy()
    assert np.allclose(policy.infer(row, NO_NOISE), expected, atol=1e-5)


class Draws(nn.Module):
    def forward(self, observation: Tensor) -> Tensor:
        return observation[:, :A] + torch.randn(len(observation), A)


def test_a_module_that_draws_noise_itself_is_refused_with_the_option_that_helps(tmp_path: Path) -> None:
    with pytest.raises(OdeployError, match=r"layer head: .* got aten\.randn, .* give --noise-size$"):
        export(Net(Draws()), tmp_path / "p.onnx")


@pytest.mark.parametrize("how", ["weight_norm", "spectral_norm", "parametrised"])
def test_a_module_with_parametrised_weights_matches_torch(how: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    wrap = {
        "weight_norm": nn.utils.weight_norm,
        "spectral_norm": nn.utils.spectral_norm,
        "parametrised": nn.utils.parametrizations.weight_norm,
    }[how]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch deprecates the older functions
        module = nn.Sequential(wrap(nn.Linear(O, 16)), nn.Tanh(), nn.Linear(16, A), nn.Tanh())  # type: ignore[operator]
        module(torch.zeros(1, O))  # the weight now has a history
        export(module, tmp_path / "p.onnx")
    policy = OnnxPolicy.load(tmp_path / "p.onnx")
    with torch.no_grad():
        expected = module.eval()(torch.from_numpy(recorded(HOPPER))).numpy()
    got = np.stack([policy.infer(o, NO_NOISE)[0].copy() for o in recorded(HOPPER)])
    assert np.allclose(got, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("module", "fragment"),
    [
        (Net(Decomposes()), "Net, layer head: expected operators of ONNX opset 18, got aten._linalg_svd"),
        (Net(Branches()), "Net, layer head: expected operators of ONNX opset 18, got a branch on the value"),
        (Net(Centres()), "expected torch and ONNX within 1e-05"),
        (
            nn.Linear(7, A),
            "Linear: expected a forward that takes observation (B, 11): task hopper has 11 observation",
        ),
        (Noisy(), "missing 1 required positional argument: 'noise'; give --task"),
        (Net(out=4), "expected actions (B, 3) or (B, H, 3): task hopper has 3 action signals"),
        (
            Net(Answers(lambda x: (x, x))),
            "Net: expected --output NAME, the actions of the 3 signals of hopper, got 0",
        ),
        (Net(Answers(str)), "tensor of real numbers, the actions, got a str; wrap it"),
        (Net(Answers(lambda x: x.argmax(1))), "the actions, got one of torch.int64; wrap it"),
        (Net(Answers(lambda x: x / 0 - x / 0)), "row 0, signal thigh_joint_torque: expected finite actions"),
    ],
    ids=["operator", "branch", "other rows", "observations", "noise", "actions", "tuple", "text", "int", "nan"],
)
def test_an_unsupported_module_is_refused_in_one_line(module: nn.Module, fragment: str, tmp_path: Path) -> None:
    with pytest.raises(OdeployError) as refused:
        export(module, tmp_path / "p.onnx")
    assert fragment in str(refused.value)
    assert "\n" not in str(refused.value)
    assert list(tmp_path.iterdir()) == []


def test_a_nan_weight_is_named(tmp_path: Path) -> None:
    module = Net()
    list(module.body.parameters())[-1].data[1] = torch.nan
    with pytest.raises(OdeployError, match=r"Net, weight .*: expected numbers, got NaN; export a checkpoint"):
        export(module, tmp_path / "p.onnx")
