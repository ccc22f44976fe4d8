"""`odeploy train qvpo | dipo | dpmd`: a diffusion policy in robot units, exact continuation, export."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from odeploy_export.cli.export import main as export
from odeploy_runtime.inference.onnx_policy import OnnxPolicy
from odeploy_sim.catalogue import get
from odeploy_sim.tasks.vector import make_vector
from odeploy_train.diffusion_rl import dipo, dpmd, qvpo
from odeploy_train.diffusion_rl import run as diffusion_run
from odeploy_train.diffusion_rl.actor import DiffusionActor
from odeploy_train.off_policy.core import OffPolicyConfig
from odeploy_train.off_policy.run import Learner
from odeploy_train.policies.best_of_diffusion import BestOfDiffusion
from odeploy_train.runs.folder import load_policy
from tests.thorough import mostly_thorough

TINY = (
    "--envs", "2", "--batch", "4", "--critic-widths", "8", "--workers", "0", "--steps", "24", "--start-steps", "8",
    "--score-episodes", "0", "--width", "8", "--depth", "1", "--diffusion-steps", "3",
)  # fmt: skip
MAINS: dict[str, Callable[[list[str]], None]] = {"qvpo": qvpo.main, "dipo": dipo.main, "dpmd": dpmd.main}
every_verb = pytest.mark.parametrize("verb", MAINS)


def learner(verb: str, task: str, folder: Path) -> Learner:
    sizes = {"critic_widths": (8,), "width": 8, "depth": 1, "diffusion_steps": 3}
    core, envs = OffPolicyConfig(batch=4, start_steps=8, capacity=100), make_vector(get(task), 2, workers=0)
    config: diffusion_run.Config
    match verb:
        case "qvpo":
            config = qvpo.Config(task, folder, **sizes)  # type: ignore[arg-type]
            policy = diffusion_run.policy_sizes(config, envs.task)
            return diffusion_run.start(config, policy, qvpo.QvpoActor, core, envs)
        case "dipo":
            config = dipo.Config(task, folder, **sizes)  # type: ignore[arg-type]
            policy = diffusion_run.policy_sizes(config, envs.task)
            return diffusion_run.start(config, policy, dipo.DipoActor, core, envs)
    config = dpmd.Config(task, folder, **sizes)  # type: ignore[arg-type]
    policy = diffusion_run.policy_sizes(config, envs.task)
    return diffusion_run.start(config, policy, dpmd.DpmdActor, core, envs)


@every_verb
def test_the_deployed_policy_samples_as_the_actor_in_robot_units(verb: str, tmp_path: Path) -> None:
    """The task's limits are not ±1, and the observations are far out of the range in training."""
    MAINS[verb](["--task", "humanoid", "--out", str(tmp_path), *TINY])
    loaded, card = load_policy(tmp_path)
    assert isinstance(loaded, BestOfDiffusion)
    policy = loaded.diffusion
    assert (card.method, card.kind) == (verb, "diffusion")
    core = (made := learner(verb, "humanoid", tmp_path)).core
    made.resume(qvpo.Config("humanoid", tmp_path))
    assert isinstance(core.actor, DiffusionActor)
    raw = torch.randn(3, 348, generator=torch.Generator().manual_seed(0)) * 1e3
    noise = torch.randn(3, 3, 17, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        answer = policy.sample(raw, noise, policy.levels.t_grid(3))
        generator = torch.Generator().manual_seed(1)
        unit = core.actor.propose(core.normalise(raw), 1, generator, core.actor.deployed)[:, 0]
    torch.testing.assert_close(answer, 0.4 * unit, atol=1e-5, rtol=0)


@every_verb
def test_a_continued_run_makes_the_same_updates_as_an_uninterrupted_one(verb: str, tmp_path: Path) -> None:
    made, again = (learner(verb, "multigoal-2d", tmp_path) for _ in range(2))
    while made.core.owed < 6:
        made.core.tick()
    for _ in range(3):
        made.core.update()
    made.save(tmp_path, finished=False)
    again.resume(qvpo.Config("humanoid", tmp_path))
    for each in (made, again):
        for _ in range(3):
            each.core.update()
    for name in ("actor", "critics", "targets"):
        ours, theirs = (nn.utils.parameters_to_vector(getattr(e.core, name).parameters()) for e in (made, again))
        assert torch.equal(ours, theirs), name


@pytest.mark.parametrize("verb", mostly_thorough(MAINS))
def test_a_run_is_exported_to_a_policy_file_with_one_draw_per_step(verb: str, tmp_path: Path) -> None:
    run, out = tmp_path / "run", tmp_path / "p.onnx"
    MAINS[verb](["--task", "multigoal-2d", "--out", str(run), *TINY])
    export([str(run), "--out", str(out)])
    file = OnnxPolicy.load(out)
    manifest = file.manifest
    assert file.golden_error <= 1e-5
    assert (manifest.kind, manifest.method, manifest.sampler_label) == ("diffusion", verb, "ddpm × 3")
    assert (manifest.noise.mode, manifest.noise.shape) == ("normal", (1, 3, 2))
    assert manifest.parity[0].rows == 128 + 64 + 7  # with edges on both sides of the clip
