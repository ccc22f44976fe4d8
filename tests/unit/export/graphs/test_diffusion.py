"""The unrolled sampler: it matches the policy, and its file declares the noise it needs."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from odeploy_export.graphs.diffusion import UnrolledDiffusion
from odeploy_export.parity.check import BATCHES
from odeploy_export.sources.source import Source
from odeploy_runtime.errors import UsageError
from odeploy_runtime.inference.noise import NoiseSource
from odeploy_runtime.inference.onnx_policy import OnnxPolicy
from odeploy_runtime.policy_file.file import read
from odeploy_runtime.policy_file.manifest import Noise, Sampler
from odeploy_sim.catalogue.locomotion import HOPPER
from odeploy_sim.catalogue.mazes import MAZE_MEDIUM
from odeploy_sim.tasks.task import Task
from odeploy_train.modules.ddpm import ScheduleName, epsilon_loss
from odeploy_train.policies.diffusion import DiffusionConfig, DiffusionPolicy
from tests.exports import export
from tests.policies import recorded

S = 4


def denoiser(
    task: Task, clip: bool, name: ScheduleName = "cosine", observation_clip: float | None = None
) -> DiffusionPolicy:
    """Return a briefly trained policy; with random weights every action lies at its limits."""
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    O, A = len(task.observation), len(task.action)  # noqa: E741
    sizes = DiffusionConfig(O, A, 32, 2, schedule=name, steps=100, clip=clip, observation_clip=observation_clip)
    policy = DiffusionPolicy(sizes)
    observations = torch.from_numpy(recorded(task, rows=256, seed=0))
    mean = torch.tanh(observations @ torch.randn(O, A, generator=generator) / O) * 0.6
    actions = (mean + 0.1 * torch.randn(mean.shape, generator=generator)).clamp(-1, 1)
    policy.fit(observations, actions, task.action)
    optimizer = torch.optim.Adam(policy.parameters(), lr=1e-2)
    o, a, alpha_bar = policy.normalise(observations), policy.normalise_action(actions), policy.levels.alpha_bar
    for _ in range(200):
        optimizer.zero_grad()
        epsilon_loss(policy.denoiser, torch.tensor(alpha_bar), o, a, generator).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return policy.eval().requires_grad_(False)


def source(policy: DiffusionPolicy, task: Task) -> Source:
    return Source(policy, "dp", "dp", task, recorded(task, rows=256), {})


def config(out: Path, steps: int | None = S, **options: str) -> dict[str, Any]:
    return {"out": out, "steps": steps, **options}


@pytest.fixture(scope="module", params=[True, False], ids=["clipped", "free"])
def policy(request: pytest.FixtureRequest) -> DiffusionPolicy:
    return denoiser(MAZE_MEDIUM, request.param)


@pytest.fixture(scope="module")
def file(policy: DiffusionPolicy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("dp") / "dp.onnx"
    export(source(policy, MAZE_MEDIUM), **config(path))
    return path


def answer(policy: DiffusionPolicy, observation: np.ndarray, noise: np.ndarray) -> np.ndarray:
    sampled = policy.sample(torch.from_numpy(observation), torch.from_numpy(noise[:, 0]), policy.levels.t_grid(S))
    return sampled.numpy()


@pytest.mark.parametrize("name", ["cosine", "linear"])
@pytest.mark.parametrize("clip", [True, False])
def test_the_unrolled_form_equals_the_sampler(clip: bool, name: ScheduleName) -> None:
    trained = denoiser(HOPPER, clip, name).double()
    trained.low[0], trained.high[0] = -0.8, 0.3  # uneven limits
    generator = torch.Generator().manual_seed(3)
    observation = torch.randn(7, 11, generator=generator, dtype=torch.float64)
    for steps in (1, 2, 9, 100):
        t_grid = trained.levels.t_grid(steps)
        noise = torch.randn(7, 1, steps, 3, generator=generator, dtype=torch.float64)
        expected = trained.sample(observation, noise[:, 0], t_grid)
        got = UnrolledDiffusion(trained, t_grid).double()(observation, noise)[:, 0]
        assert got.shape == (7, 3)
        assert torch.allclose(got, expected, atol=4e-6)  # constants were folded in float64 and stored in float32
        assert expected.std() > 0.1


def test_observations_out_of_range_are_clipped_in_the_graph_too(tmp_path: Path) -> None:
    trained = denoiser(HOPPER, True, observation_clip=1.5)
    t_grid, noise = trained.levels.t_grid(S), torch.zeros(2, 1, S, 3)
    far = trained.observation_mean + torch.tensor([[1.6], [1e3]]) * trained.observation_std
    got = UnrolledDiffusion(trained, t_grid)(far, noise)[:, 0]
    assert torch.allclose(got, trained.sample(far, noise[:, 0], t_grid), atol=1e-5)
    assert torch.equal(got[0], got[1])
    manifest = export(source(trained, HOPPER), **config(tmp_path / "clipped.onnx"))
    assert manifest.parity[0].rows == 128 + 64 + 7  # with edges on both sides of the clip


def test_the_manifest_has_one_draw_per_step_and_passed_the_parity_check(
    policy: DiffusionPolicy, file: Path
) -> None:
    manifest = OnnxPolicy.load(file).manifest
    assert (manifest.kind, manifest.method, manifest.sampler_label) == ("diffusion", "dp", "ddpm × 4")
    assert (manifest.noise.mode, manifest.noise.shape) == ("normal", (1, S, 2))
    assert manifest.sampler == Sampler("ddpm", S, policy.levels.t_grid(S))
    assert manifest.parity[0].batches == BATCHES == (1, 3, 8)
    assert manifest.parity[0].max_error <= 1e-5


def test_with_the_runtimes_noise_the_file_matches_torch(policy: DiffusionPolicy, file: Path) -> None:
    served, observations = OnnxPolicy.load(file), recorded(MAZE_MEDIUM)
    noises = NoiseSource(served.manifest.noise, seed=7)
    for seq, observation in enumerate(observations[:5]):
        noise = noises.draw(episode=0, seq=seq)
        assert noise.shape == (1, 1, S, 2)
        expected = answer(policy, observation[None], noise)
        assert np.allclose(served.infer(observation, noise), expected, atol=1e-5)


def test_reordered_draws_give_torchs_action_for_that_order(policy: DiffusionPolicy, file: Path) -> None:
    served, observation = OnnxPolicy.load(file), recorded(MAZE_MEDIUM)[0]
    noise = np.random.default_rng(0).standard_normal((1, 1, S, 2), np.float32)
    first = served.infer(observation, noise).copy()
    swapped = noise[:, :, [0, 2, 1, 3]]
    second = served.infer(observation, swapped)
    assert np.abs(first - second).max() > 1e-3
    assert np.allclose(second, answer(policy, observation[None], swapped), atol=1e-5)


def test_zero_noise_is_a_mode_with_the_same_shape(tmp_path: Path) -> None:
    manifest = export(
        source(denoiser(MAZE_MEDIUM, True), MAZE_MEDIUM), **config(tmp_path / "z.onnx", 2, noise="zero")
    )
    assert (manifest.noise.mode, manifest.noise.shape) == ("zero", (1, 2, 2))
    assert not any(value for row in manifest.golden for value in row.noise)


@pytest.mark.parametrize(
    "changes",
    [
        {"noise": Noise("normal", (1, 3, 2))},
        {"kind": "flow"},
        {"sampler": Sampler("euler", S, (0.0, 0.25, 0.5, 0.75, 1.0))},
    ],
    ids=["too few draws", "a flow with ancestral steps", "a diffusion with an ODE's solver"],
)
def test_a_manifest_with_inconsistent_type_sampler_and_noise_is_refused(
    file: Path, changes: dict[str, Any]
) -> None:
    manifest = dataclasses.replace(read(file).manifest, golden=())
    with pytest.raises(ValueError, match="noise of shape"):
        dataclasses.replace(manifest, **changes)


def test_a_solver_or_more_steps_than_in_training_are_refused(tmp_path: Path) -> None:
    trained = source(denoiser(MAZE_MEDIUM, True), MAZE_MEDIUM)
    with pytest.raises(UsageError, match="--solver: expected a flow policy"):
        export(trained, **config(tmp_path / "x.onnx", solver="euler"))
    with pytest.raises(UsageError, match=r"expected from 1 to 100.*got 101"):
        export(trained, **config(tmp_path / "x.onnx", 101))
