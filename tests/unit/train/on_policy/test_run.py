"""Runs of a PPO learner: checkpoints, continuation, interrupts, and no invalid numbers on disk."""

import io
import os
import signal
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from torch import nn

from odeploy_export.pipeline import export_policy
from odeploy_export.sources.runs import from_run
from odeploy_runtime.errors import FormatError, UsageError
from odeploy_sim.catalogue import get
from odeploy_sim.tasks.vector import make_vector
from odeploy_train.on_policy import gaussian_ppo
from odeploy_train.on_policy.gaussian import GaussianActor
from odeploy_train.on_policy.rollout import Rollout
from odeploy_train.on_policy.run import Learner
from odeploy_train.policies.kinds import Policy
from odeploy_train.policies.mlp import MlpConfig
from odeploy_train.runs import best_policy, checkpoint, learning_curve
from odeploy_train.runs.folder import load_policy
from odeploy_train.runs.interrupts import Interrupts
from odeploy_train.runs.options import Keep
from odeploy_train.runs.rollouts import Episodes, Rollouts
from odeploy_train.runs.scored_loop import train

QUIET = Console(file=io.StringIO())
HOPPER = get("hopper")
SIZES = MlpConfig(11, 3, (8,), clip=10.0)


@dataclass(frozen=True)
class Options:
    """Options of a training command; a rollout is 64 steps."""

    out: Path
    steps: int = 256
    lr: float = 3e-4
    seed: int = 0
    score_every: int = 128
    score_episodes: int = 0
    keep: Keep = "last"


def learner(tmp_path: Path) -> Learner:
    config = gaussian_ppo.Config("hopper", tmp_path, envs=2, ticks=32, epochs=1, batch=32, widths=(8,), workers=0)
    return gaussian_ppo.start(config, HOPPER, make_vector(HOPPER, 2, workers=0), SIZES)


def weights(made: Learner) -> torch.Tensor:
    assert isinstance(made.ppo.actor, nn.Module)
    return nn.utils.parameters_to_vector(made.ppo.actor.parameters()).detach()


def test_a_run_is_saved_at_every_score_and_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved: list[int] = []
    monkeypatch.setattr(checkpoint, "save", lambda _folder, state: saved.append(state["step"]))
    train(Options(tmp_path, steps=300), learner(tmp_path), HOPPER, QUIET)
    assert saved == [128, 256, 320]


def test_a_run_prints_its_score_over_whole_episodes(tmp_path: Path) -> None:
    out = io.StringIO()
    train(Options(tmp_path, steps=128, score_episodes=2), learner(tmp_path), HOPPER, Console(file=out))
    assert "128 steps: return" in out.getvalue()
    assert "over 2 lockstep episodes" in out.getvalue()


def test_the_best_of_the_scored_policies_is_kept_across_a_continuation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    returns, seen = iter([1.0, 3.0, 2.0, 0.0]), []

    def score(policy: Policy, _rollouts: Rollouts, episodes: int) -> Episodes:
        seen.append(torch.cat([each.flatten() for each in policy.state_dict().values()]))
        return Episodes(torch.zeros(0, 11), np.full(episodes, next(returns)), np.zeros(episodes, bool))

    monkeypatch.setattr(best_policy, "evaluate", score)
    for steps in (384, 512):
        options = Options(tmp_path, steps=steps, score_episodes=2, keep="best")
        made = learner(tmp_path)
        made.resume(options)
        train(options, made, HOPPER, QUIET)
        saved = checkpoint.load(tmp_path)
        assert saved is not None
        assert (saved["step"], saved["kept"]["step"]) == (steps, 256)
        assert torch.equal(torch.cat([each.flatten() for each in saved["policy"].values()]), seen[1])
    assert len(seen) == 4
    assert not torch.equal(seen[3], seen[1])


def test_keeping_the_best_without_scores_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--keep best: expected scores to choose by, got --score-episodes 0"):
        gaussian_ppo.main(
            ["--task", "hopper", "--out", str(tmp_path / "run"), "--keep", "best", "--score-episodes", "0"]
        )
    assert not (tmp_path / "run").exists()


def test_an_interrupt_waits_for_the_iteration_and_the_run_continues_from_there(tmp_path: Path) -> None:
    made = learner(tmp_path)

    def interrupt(_rollout: Rollout) -> dict[str, float]:
        if made.ppo.steps == 192:
            os.kill(os.getpid(), signal.SIGINT)
        return {}

    made.before_update = interrupt
    with pytest.raises(KeyboardInterrupt):
        train(Options(tmp_path), made, HOPPER, QUIET)
    again = learner(tmp_path)
    again.resume(Options(tmp_path))
    assert again.ppo.steps == 192
    assert torch.equal(weights(again), weights(made))
    assert torch.equal(again.ppo.moments.mean, made.ppo.moments.mean)
    assert torch.equal(again.ppo.generator.get_state(), made.ppo.generator.get_state())
    train(Options(tmp_path), again, HOPPER, QUIET)
    assert again.ppo.steps == 256
    assert not torch.equal(weights(again), weights(made))


def test_a_continued_run_keeps_the_score_of_its_checkpoint(tmp_path: Path) -> None:
    for steps in (128, 256):
        for file in tmp_path.glob("events*"):  # file names of sessions differ only by the second
            file.rename(tmp_path / "events.out.tfevents.0000000001")
        made, scored = learner(tmp_path), Options(tmp_path, steps, score_episodes=1)
        made.resume(scored)
        train(scored, made, HOPPER, QUIET)
    assert learning_curve.read(tmp_path, "return").steps == (128, 256)


def test_a_continued_run_starts_new_episodes(tmp_path: Path) -> None:
    made = learner(tmp_path)
    first = made.ppo.collect().raw[0]
    checkpoint.save(tmp_path, made.state())
    again = learner(tmp_path)
    again.resume(Options(tmp_path))
    assert not torch.equal(again.ppo.collect().raw[0], first)


def test_additional_modules_are_saved_in_the_checkpoint(tmp_path: Path) -> None:
    made, again = learner(tmp_path), learner(tmp_path)
    made.more["reward"], again.more["reward"] = nn.Linear(2, 1), nn.Linear(2, 1)
    checkpoint.save(tmp_path, made.state())
    again.resume(Options(tmp_path))
    assert torch.equal(again.more["reward"].weight, made.more["reward"].weight)  # type: ignore[arg-type]


def test_the_checkpoint_of_another_training_is_refused(tmp_path: Path) -> None:
    made, other = learner(tmp_path), learner(tmp_path)
    other.more["reward"] = nn.Linear(2, 1)
    checkpoint.save(tmp_path, made.state())
    with pytest.raises(FormatError, match="the checkpoint of this training"):
        other.resume(Options(tmp_path))


def test_a_figure_that_is_not_finite_stops_the_run_and_the_last_checkpoint_stays(tmp_path: Path) -> None:
    made = learner(tmp_path)

    def poison(_rollout: Rollout) -> dict[str, float]:
        if made.ppo.steps > 128:
            with torch.no_grad():
                next(iter(made.ppo.critic.parameters()))[0, 0] = torch.nan
        return {}

    made.before_update = poison
    with pytest.raises(UsageError, match="expected finite figures, got nan for update/"):
        train(Options(tmp_path), made, HOPPER, QUIET)
    kept = checkpoint.load(tmp_path)
    assert kept is not None
    assert kept["step"] == 128
    assert all(torch.isfinite(v).all() for v in kept["modules"]["critic"].values())


def test_the_verb_writes_a_policy_and_does_not_change_a_finished_run(tmp_path: Path) -> None:
    run = str(tmp_path / "run")
    options = ["--task", "hopper", "--out", run, "--steps", "128", "--envs", "2", "--ticks", "32", "--widths", "8"]
    options += ["--workers", "0", "--score-every", "64", "--score-episodes", "0", "--batch", "32"]
    gaussian_ppo.main(options)
    policy, card = load_policy(tmp_path / "run")
    assert (card.method, card.kind, card.data_hash, card.demos) == ("ppo", "mlp", None, None)
    observation = torch.randn(5, 11, dtype=torch.float64)
    assert policy(observation).shape == (5, 3)
    gaussian_ppo.main(options)  # the run is finished
    again, _ = load_policy(tmp_path / "run")
    assert torch.equal(policy(observation), again(observation))


def test_of_a_policy_whose_std_depends_on_the_state_the_mean_is_deployed_and_exported(tmp_path: Path) -> None:
    run = tmp_path / "run"
    options = ["--task", "hopper", "--out", str(run), "--steps", "192", "--envs", "2", "--ticks", "32", "--widths"]
    options += ["8", "--workers", "0", "--score-every", "64", "--score-episodes", "0", "--lr", "0.05"]
    gaussian_ppo.main([*options, "--state-dependent-std", "--entropy", "0.01"])
    saved = checkpoint.load(run)
    assert saved is not None
    modules = saved["modules"]
    assert modules["actor"]["spread.weight"].abs().max() > 0
    manifest = export_policy(
        from_run(run, None), tmp_path / "policy.onnx"
    )  # compares its outputs with the policy's
    assert (manifest.method, manifest.kind) == ("ppo", "mlp")
    policy, _ = load_policy(run)
    actor = GaussianActor(11, 3, (8,), state_dependent_std=True)
    actor.load_state_dict(modules["actor"])
    raw = torch.randn(5, 11, dtype=torch.float64)
    std = modules["moments"]["variance"].sqrt().clamp(min=1e-4)
    with torch.no_grad():
        mean = actor.mean(((raw - modules["moments"]["mean"]) / std).clamp(-10, 10).float())
    torch.testing.assert_close(policy(raw).float(), mean.clamp(-1, 1), atol=1e-5, rtol=1e-4)


def test_the_deployed_policy_is_the_mean_in_robot_units(tmp_path: Path) -> None:
    """The task's limits are not ±1; unit actions are mapped onto them."""
    humanoid = get("humanoid")
    config = gaussian_ppo.Config("humanoid", tmp_path, envs=1, widths=(8,), workers=0)
    made = gaussian_ppo.start(
        config, humanoid, make_vector(humanoid, 1, workers=0), MlpConfig(348, 17, (8,), clip=10.0)
    )
    made.ppo.moments.see(torch.randn(50, 348) * 3 + 1)
    raw = torch.randn(6, 348, dtype=torch.float64) * 100  # far beyond the clip
    assert isinstance(made.ppo.actor, GaussianActor)
    with torch.no_grad():
        mean = made.ppo.actor.mean(made.ppo.normalise(raw))
        found = made.deploy()(raw)
    torch.testing.assert_close(found.float(), (0.4 * mean).clamp(-0.4, 0.4), atol=1e-5, rtol=0)


def test_the_first_rollout_only_fills_the_normaliser(tmp_path: Path) -> None:
    made, updates = learner(tmp_path), []
    made.before_update = lambda _rollout: updates.append(made.ppo.steps) or {}  # type: ignore[func-returns-value]
    options, start = Options(tmp_path), weights(made)
    figures = made.iterate(options, 128, Interrupts())
    assert (made.ppo.steps, updates) == (64, []), "its ticks count"
    assert float(made.ppo.moments.count) == 64
    assert torch.equal(weights(made), start)
    assert not made.ppo.optimizer.state
    assert not [name for name in figures if name.startswith("update/")]
    made.iterate(options, 128, Interrupts())
    assert updates == [128]
    assert not torch.equal(weights(made), start)


def test_the_first_rollout_is_learned_from_if_the_normaliser_is_filled(tmp_path: Path) -> None:
    made = learner(tmp_path)
    made.ppo.learn_scale(torch.randn(9, 11))
    start = weights(made)
    made.iterate(Options(tmp_path), 128, Interrupts())
    assert not torch.equal(weights(made), start)


def test_a_run_interrupted_after_its_first_rollout_learns_from_the_next(tmp_path: Path) -> None:
    made, again = learner(tmp_path), learner(tmp_path)
    made.iterate(Options(tmp_path), 128, Interrupts())
    checkpoint.save(tmp_path, made.state())
    again.resume(Options(tmp_path))
    start = weights(again)
    assert torch.equal(start, weights(made))
    again.iterate(Options(tmp_path), 128, Interrupts())
    assert not torch.equal(weights(again), start)
