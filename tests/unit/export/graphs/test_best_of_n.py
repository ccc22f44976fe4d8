"""Best of N in one graph: torch's candidates, values and choices, from a run folder to the served action."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from odeploy_export.cli.export import main as export
from odeploy_export.cli.verify import main as verify
from odeploy_export.graphs.tracing import to_bytes, trace_graph
from odeploy_export.sources.source import Source
from odeploy_runtime.errors import PolicyFileError, UsageError
from odeploy_runtime.inference.noise import NoiseSource
from odeploy_runtime.inference.onnx_policy import OnnxPolicy
from odeploy_runtime.policy_file.file import parse, read
from odeploy_runtime.policy_file.manifest import Noise
from odeploy_sim.catalogue.locomotion import HOPPER
from odeploy_train.modules.ode import SOLVERS, solver, uniform_grid
from odeploy_train.policies.best_of_n import BestOfN
from tests.best_of_n import best_of_diffusion, best_of_n, diffusion_run_folder, run_folder
from tests.exports import best_of_diffusion_graph, best_of_n_graph
from tests.exports import export as export_file
from tests.policies import recorded

N = 4
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "chunk": {"horizon": 3},
    "clipped and squashed": {"clip": 1.0, "squash": True},
    "normed critics": {"critic_norm": True},
}


@pytest.mark.parametrize("name", list(SOLVERS))
@pytest.mark.parametrize("variant", list(VARIANTS))
def test_the_graph_makes_torchs_choice(name: str, variant: str) -> None:
    policy = best_of_n(HOPPER, **VARIANTS[variant]).double()
    policy.flow.low[0], policy.flow.high[0] = -0.7, 0.4  # gives the critics another scale and another midpoint
    D, H = policy.config.flow.chunk_size, policy.config.flow.horizon
    generator = torch.Generator().manual_seed(3)
    observation = torch.randn(9, 11, generator=generator, dtype=torch.float64)
    noise = torch.randn(9, N, 1, D, generator=generator, dtype=torch.float64)
    expected = policy.sample(observation, noise[:, :, 0], solver(name), uniform_grid(4))
    action, value, index = best_of_n_graph(policy, solver(name), uniform_grid(4), N).double()(observation, noise)
    # Constants were folded in float64 and stored in float32.
    torch.testing.assert_close(action, expected.action.view(9, H, 3), atol=4e-6, rtol=0)
    torch.testing.assert_close(value, expected.value, atol=1e-5, rtol=1e-5)
    assert torch.equal(index, expected.index)
    assert len(set(index.tolist())) > 2


def test_the_observations_products_are_computed_once_for_all_candidates() -> None:
    graphs = [best_of_n_graph(best_of_n(HOPPER), solver("euler"), uniform_grid(1), n) for n in (2, 12)]
    few, many = (trace_graph(graph, 11, (n, 1, 3)).graph for graph, n in zip(graphs, (2, 12), strict=True))
    assert len(few.node) == len(many.node)
    gemms = [node for node in many.node if node.op_type == "Gemm"]
    # Flow: observation, noise, four in its one step. Critics: observation, action, two more for each.
    assert len(gemms) == 2 + 4 + 2 + 2 * 2
    assert sum(node.input[0] == "observation" for node in gemms) == 2


def test_a_file_with_normed_critics_passes_the_parity_check_and_makes_torchs_choice(tmp_path: Path) -> None:
    policy, out = best_of_n(HOPPER, clip=10.0, squash=True, critic_norm=True), tmp_path / "normed.onnx"
    export_file(source(policy), **config(out))
    served = OnnxPolicy.load(out)
    assert served.manifest.parity[0].max_error <= served.manifest.parity[0].tolerance == 1e-5
    noises = NoiseSource(served.manifest.noise, seed=7)
    for seq, observation in enumerate(recorded(HOPPER)[:3]):
        noise = noises.draw(episode=0, seq=seq)
        draws = torch.from_numpy(noise[:, :, 0])
        expected = policy.sample(torch.from_numpy(observation[None]), draws, solver("euler"), uniform_grid(2))
        served.infer(observation, noise)
        assert np.allclose(served.value, expected.value.numpy(), atol=1e-5, rtol=1e-5)
        assert served.index.tolist() == expected.index.tolist()


@pytest.fixture(scope="module")
def policy() -> BestOfN:
    return best_of_n(HOPPER, horizon=2, clip=1.0, squash=True)


def source(policy: BestOfN) -> Source:
    return Source(policy, "fpo", "fmer", HOPPER, recorded(HOPPER, rows=256), {})


def config(out: Path, candidates: int | None = N, steps: int = 2, **options: str) -> dict[str, Any]:
    return {"out": out, "steps": steps, "candidates": candidates, **options}


@pytest.fixture(scope="module")
def file(policy: BestOfN, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("files") / "fmer.onnx"
    export_file(source(policy), **config(out, solver="midpoint"))
    return out


def test_a_file_records_its_candidates_and_passed_the_parity_check(policy: BestOfN, file: Path) -> None:
    manifest, sizes = read(file).manifest, policy.config.flow
    assert manifest.sampler is not None
    assert (manifest.kind, manifest.sampler.candidates, manifest.horizon) == ("flow", N, sizes.horizon)
    assert manifest.sampler_label == f"midpoint × 2, best of {N}"
    assert manifest.noise == Noise("normal", (N, 1, sizes.chunk_size))
    assert manifest.parity[0].max_error <= manifest.parity[0].tolerance == 1e-5
    assert manifest.parity[0].batches == (1, 3, 8)
    outputs = onnx.load_from_string(file.read_bytes()).graph.output
    assert [o.name for o in outputs] == ["action", "value", "index"]
    kinds = [o.type.tensor_type.elem_type for o in outputs]
    assert kinds == [onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT, onnx.TensorProto.INT64]


def test_the_runtime_draws_for_all_candidates_and_returns_the_best(policy: BestOfN, file: Path) -> None:
    served, sizes = OnnxPolicy.load(file), policy.config.flow
    noises = NoiseSource(served.manifest.noise, seed=7)
    for seq, observation in enumerate(recorded(HOPPER)[:5]):
        noise = noises.draw(episode=0, seq=seq)
        assert noise.shape == (1, N, 1, sizes.chunk_size)
        draws = torch.from_numpy(noise[:, :, 0])
        expected = policy.sample(torch.from_numpy(observation[None]), draws, solver("midpoint"), uniform_grid(2))
        action = served.infer(observation, noise)
        assert np.allclose(action.reshape(-1), expected.action[0].numpy(), atol=1e-5)
        assert np.allclose(served.value, expected.value.numpy(), atol=1e-5, rtol=1e-5)
        assert served.index.tolist() == expected.index.tolist()


def test_a_file_without_the_index_of_its_manifest_is_refused(file: Path) -> None:
    model, manifest = onnx.load_from_string(file.read_bytes()), read(file).manifest
    del model.graph.output[2]
    with pytest.raises(PolicyFileError, match=r"'index': .* as in the manifest"):
        OnnxPolicy(parse(file, to_bytes(model, manifest)))


def test_golden_rows_have_a_best_candidate_that_rounding_cannot_change(policy: BestOfN, file: Path) -> None:
    manifest = read(file).manifest
    assert len(manifest.golden) == 8
    for row in manifest.golden:
        draws = torch.tensor(row.noise).view(1, N, -1)
        actions, values = policy.propose(
            torch.tensor([row.observation]), draws, solver("midpoint"), uniform_grid(2)
        )
        best, second = values[0].topk(2).values
        assert best - second > 1e-3
        assert np.allclose(row.action, actions[0, values.argmax()].numpy(), atol=1e-6)


def test_a_run_folder_without_demonstrations_is_exported(tmp_path: Path) -> None:
    run, out = run_folder(tmp_path / "run", HOPPER, best_of_n(HOPPER)), tmp_path / "fmer.onnx"
    export([str(run), "--candidates", "2", "--steps", "1", "--out", str(out)])
    assert OnnxPolicy.load(out).manifest.sampler_label == "euler × 1, best of 2"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"candidates": 0}, "--candidates: expected at least 1, got 0"),
        ({"noise": "zero"}, "--noise zero: expected 1 candidate, since all are the same without noise, got 4"),
    ],
)
def test_impossible_candidates_are_refused_and_nothing_is_written(
    tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        export_file(source(best_of_n(HOPPER)), **config(tmp_path / "p.onnx", **options))
    assert list(tmp_path.iterdir()) == []


def test_one_candidate_may_start_from_zero_noise(tmp_path: Path) -> None:
    out = tmp_path / "one.onnx"
    export_file(source(best_of_n(HOPPER)), **config(out, candidates=1, steps=1, noise="zero"))
    assert OnnxPolicy.load(out).manifest.sampler_label == "euler × 1"


@pytest.mark.parametrize(("clip", "norm"), [(None, False), (1.0, False), (1.0, True)])
def test_the_graph_of_a_diffusion_makes_torchs_choice(clip: float | None, norm: bool) -> None:
    policy, S = best_of_diffusion(HOPPER, clip=clip, critic_norm=norm).double(), 5
    policy.diffusion.low[0], policy.diffusion.high[0] = -0.7, 0.4
    generator, t_grid = torch.Generator().manual_seed(3), policy.diffusion.levels.t_grid(S)
    observation = torch.randn(9, 11, generator=generator, dtype=torch.float64)
    noise = torch.randn(9, N, S, 3, generator=generator, dtype=torch.float64)
    expected = policy.sample(observation, noise, t_grid)
    action, value, index = best_of_diffusion_graph(policy, t_grid, N).double()(observation, noise)
    torch.testing.assert_close(action, expected.action.view(9, 1, 3), atol=4e-6, rtol=0)
    torch.testing.assert_close(value, expected.value, atol=1e-5, rtol=1e-5)
    assert torch.equal(index, expected.index)
    assert len(set(index.tolist())) > 2


def test_the_file_of_a_diffusion_run_with_critics_makes_torchs_choice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    policy = best_of_diffusion(HOPPER, clip=10.0)
    run, out = diffusion_run_folder(tmp_path / "run", HOPPER, policy), tmp_path / "best.onnx"
    export([str(run), "--candidates", str(N), "--steps", "3", "--out", str(out)])
    served = OnnxPolicy.load(out)
    manifest = served.manifest
    assert (manifest.kind, manifest.method, manifest.sampler_label) == (
        "diffusion",
        "qvpo",
        f"ddpm × 3, best of {N}",
    )
    assert manifest.noise == Noise("normal", (N, 3, 3))
    assert manifest.parity[0].max_error <= manifest.parity[0].tolerance == 1e-5
    noises, t_grid = NoiseSource(manifest.noise, seed=7), policy.diffusion.levels.t_grid(3)
    for seq, observation in enumerate(recorded(HOPPER)[:5]):
        noise = noises.draw(episode=0, seq=seq)
        expected = policy.sample(torch.from_numpy(observation[None]), torch.from_numpy(noise), t_grid)
        action = served.infer(observation, noise)
        assert np.allclose(action.reshape(-1), expected.action[0].numpy(), atol=1e-5)
        assert served.index.tolist() == expected.index.tolist()
    monkeypatch.setattr("sys.argv", ["verify", str(out), "--run", str(run)])
    verify()
    assert "parity check" in capsys.readouterr().out


def test_a_diffusion_run_with_critics_has_one_sample_by_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run, out = diffusion_run_folder(tmp_path / "run", HOPPER, best_of_diffusion(HOPPER)), tmp_path / "one.onnx"
    export([str(run), "--steps", "2", "--out", str(out)])
    assert OnnxPolicy.load(out).manifest.noise == Noise("normal", (1, 2, 3))
    monkeypatch.setattr("sys.argv", ["verify", str(out), "--run", str(run)])
    verify()  # the run has critics, the file has none
    assert "parity check" in capsys.readouterr().out
