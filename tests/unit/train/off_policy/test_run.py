"""Runs of an off-policy learner: checkpoints, continuation, interrupts, and no invalid numbers on disk."""

import io
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from torch import nn

from odeploy_runtime.errors import ContractError, FormatError, MissingError, UsageError
from odeploy_sim.catalogue import get
from odeploy_sim.tasks.vector import make_vector
from odeploy_sim.tasks.vector_env import SerialVectorEnv
from odeploy_train.diffusion_rl import dipo, dpmd, qvpo
from odeploy_train.off_policy import fmer_run, sac
from odeploy_train.off_policy.core import OffPolicyConfig
from odeploy_train.off_policy.replay import REPLAY
from odeploy_train.off_policy.run import Config, Learner
from odeploy_train.policies.best_of_diffusion import BestOfDiffusion
from odeploy_train.policies.kinds import Policy
from odeploy_train.policies.mlp import MlpConfig
from odeploy_train.runs import best_policy, checkpoint, learning_curve
from odeploy_train.runs.folder import load_policy
from odeploy_train.runs.interrupts import Interrupts
from odeploy_train.runs.rollouts import Episodes, Rollouts
from odeploy_train.runs.scored_loop import train

TINY = (
    "--task", "multigoal-2d", "--envs", "2", "--batch", "8", "--critic-widths", "8", "--workers", "0",
    "--start-steps", "20", "--score-every", "40", "--score-episodes", "0",
)  # fmt: skip
MULTIGOAL, QUIET = get("multigoal-2d"), Console(file=io.StringIO())
VERBS: dict[str, tuple[Callable[[list[str]], None], tuple[str, ...]]] = {
    "fmer": (fmer_run.main, ("--width", "8", "--solver-steps", "2", "--candidates", "4", "--choices", "3")),
    "sac": (sac.main, ("--widths", "8")),
    "qvpo": (qvpo.main, ("--width", "8", "--depth", "1", "--diffusion-steps", "2", "--candidates", "4")),
    "dipo": (dipo.main, ("--width", "8", "--depth", "1", "--diffusion-steps", "2", "--action-steps", "2")),
    "dpmd": (dpmd.main, ("--width", "8", "--depth", "1", "--diffusion-steps", "2", "--target-samples", "3")),
}
every_verb = pytest.mark.parametrize("verb", VERBS)


def verb_run(verb: str, out: Path, *more: str) -> None:
    main, sizes = VERBS[verb]
    main([*TINY, *sizes, "--out", str(out), *more])


def learner(options: Config) -> Learner:
    config = sac.Config("multigoal-2d", options.out, widths=(8,), critic_widths=(8,))
    core = OffPolicyConfig(batch=8, start_steps=options.start_steps, capacity=500)
    sizes = MlpConfig(2, 2, (8,), "ReLU", clip=10.0, squash=True)
    return sac.start(config, sizes, core, make_vector(MULTIGOAL, 2, workers=0))


def options(out: Path, steps: int = 80) -> Config:
    return Config("multigoal-2d", out, steps, start_steps=20, score_every=40, score_episodes=0)


def weights(made: Learner) -> torch.Tensor:
    modules = made.core.actor, made.core.critics, made.core.targets
    return torch.cat([nn.utils.parameters_to_vector(module.parameters()) for module in modules]).detach()


@every_verb
def test_a_run_is_scored_and_a_finished_one_is_reported(
    verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    verb_run(verb, tmp_path, "--steps", "60", "--score-episodes", "1")
    printed = capsys.readouterr().out
    assert "40 steps: success" in printed
    assert "60 steps: success" in printed
    assert learning_curve.read(tmp_path, "success").steps == (40, 60)
    assert learning_curve.train_s(tmp_path) > 0
    assert not (tmp_path / REPLAY).exists(), "a finished run needs no replay"
    verb_run(verb, tmp_path, "--steps", "60")
    assert "finished already, at step 60" in capsys.readouterr().out
    with pytest.raises(UsageError, match=r"--discount: expected 0\.99"):
        verb_run(verb, tmp_path, "--steps", "60", "--discount", "0.9")


SLOW = ("--renew-every", "3", "--perturbations", "2", "--resample", "2", "--target-choices", "2")


@pytest.mark.parametrize(("verb", "more"), [("fmer", SLOW), ("sac", ())])
def test_a_continued_run_has_the_learner_of_the_checkpoint_and_its_count_of_updates(
    verb: str, more: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slow copy, temperature and turns of the actor continue where they were."""
    options = (*more, "--returns", "3", "--hold", "2", "--actor-every", "2", "--steps", "60")
    states: list[dict[str, Any]] = []
    save, load = checkpoint.save, Learner.resume

    def stop(folder: Path, state: dict[str, Any]) -> None:
        save(folder, state)
        states.append(state)
        if len(states) == 1:
            raise KeyboardInterrupt

    def resumed(learner: Learner, given: Any) -> None:
        load(learner, given)
        if states:
            assert learner.core.updates == states[0]["updates"] > 0
            for name, weight in learner.core.actor.state_dict().items():
                assert torch.equal(weight, states[0]["modules"]["actor"][name]), name

    monkeypatch.setattr(checkpoint, "save", stop)
    monkeypatch.setattr(Learner, "resume", resumed)
    with pytest.raises(KeyboardInterrupt):
        verb_run(verb, tmp_path, *options)
    verb_run(verb, tmp_path, *options)
    assert states[-1]["updates"] > states[0]["updates"]
    assert load_policy(tmp_path)[1].config["returns"] == 3


def test_figures_of_the_actor_are_means_over_its_own_updates(tmp_path: Path) -> None:
    made, every = learner(options(tmp_path)), learner(options(tmp_path))
    made.core.config = replace(made.core.config, actor_every=4)
    found = made.iterate(options(tmp_path), 40, Interrupts())
    other = every.iterate(options(tmp_path), 40, Interrupts())
    assert found["update/alpha"] == pytest.approx(other["update/alpha"], rel=0.05)


def test_a_run_ends_after_its_minutes_and_a_continuation_does_not_restart_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    endless = "--steps", "1000000", "--minutes", "0.02"
    verb_run("sac", tmp_path, *endless)
    saved = checkpoint.load(tmp_path)
    assert saved is not None
    assert 20 < saved["step"] < 1_000_000
    assert saved["spent_s"] >= 1.2
    assert learning_curve.train_s(tmp_path) == pytest.approx(saved["spent_s"], rel=0.05)
    assert not (tmp_path / REPLAY).exists()
    assert load_policy(tmp_path)[1].steps == 1_000_000  # counts as finished
    capsys.readouterr()
    verb_run("sac", tmp_path, *endless)
    assert f"finished already, at step {saved['step']}" in capsys.readouterr().out


@every_verb
def test_the_best_of_the_scored_policies_is_kept_and_loaded(
    verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    successes, seen = iter([0.0, 1.0, 0.5]), []

    def score(policy: Policy, _rollouts: Rollouts, episodes: int) -> Episodes:
        seen.append(torch.cat([each.flatten() for each in policy.state_dict().values()]))
        solved = np.arange(episodes) < next(successes) * episodes
        return Episodes(torch.zeros(0, 2), np.zeros(episodes), solved)

    monkeypatch.setattr(best_policy, "evaluate", score)
    verb_run(verb, tmp_path, "--steps", "120", "--score-every", "40", "--score-episodes", "2", "--keep", "best")
    loaded, _ = load_policy(tmp_path)
    policy = loaded.diffusion if isinstance(loaded, BestOfDiffusion) else loaded  # saved with its critics
    assert torch.equal(torch.cat([each.flatten() for each in policy.state_dict().values()]), seen[1])
    assert not torch.equal(seen[2], seen[1])


def test_zero_minutes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--minutes: expected a number above 0, got 0"):
        verb_run("sac", tmp_path, "--minutes", "0")


@every_verb
def test_the_backend_steps_the_environments(verb: str, tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"backend envpool: .* got multigoal-2d: EnvPool has no such task"):
        verb_run(verb, tmp_path, "--steps", "60", "--backend", "envpool")


@pytest.mark.parametrize("verb", ["fmer", "sac"])
def test_a_shorter_run_equals_the_beginning_of_a_longer_one(
    verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runs of increasing --steps therefore show how one policy evolves."""
    saved: dict[tuple[str, int], torch.Tensor] = {}

    def keep(folder: Path, state: dict[str, Any]) -> None:
        saved[folder.name, state["step"]] = torch.cat([each.flatten() for each in state["policy"].values()])

    monkeypatch.setattr(checkpoint, "save", keep)
    for steps in ("40", "80"):
        verb_run(verb, tmp_path / steps, "--steps", steps)
    assert torch.equal(saved["40", 40], saved["80", 40])
    assert not torch.equal(saved["80", 40], saved["80", 80])


def test_an_interrupt_waits_for_the_tick_and_the_run_continues_with_its_replay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, tick = learner(options(tmp_path)), SerialVectorEnv.step

    def interrupt(envs: SerialVectorEnv, actions: Any) -> Any:
        if made.core.steps == 48:
            os.kill(os.getpid(), signal.SIGINT)
        return tick(envs, actions)

    monkeypatch.setattr(SerialVectorEnv, "step", interrupt)
    with pytest.raises(KeyboardInterrupt):
        train(options(tmp_path), made, MULTIGOAL, QUIET)
    assert made.core.steps == 50
    again = learner(options(tmp_path))
    again.resume(options(tmp_path))
    assert (again.core.steps, len(again.core.replay)) == (50, 50)
    assert torch.equal(weights(again), weights(made))
    assert torch.equal(again.core.moments.mean, made.core.moments.mean)
    assert torch.equal(again.core.generator.get_state(), made.core.generator.get_state())
    continued, stopped = (each.core.replay.draw(20, torch.Generator().manual_seed(0)) for each in (again, made))
    assert torch.equal(continued.following, stopped.following)
    rate = again.core.optimizer.state_dict()["state"][0]["step"]
    assert rate == made.core.optimizer.state_dict()["state"][0]["step"] > 0
    train(options(tmp_path), again, MULTIGOAL, QUIET)
    assert again.core.steps == 80
    assert not torch.equal(weights(again), weights(made))


def test_a_continued_run_keeps_the_score_of_its_checkpoint(tmp_path: Path) -> None:
    for steps in (40, 80):
        for file in tmp_path.glob("events*"):  # file names of sessions differ only by the second
            file.rename(tmp_path / "events.out.tfevents.0000000001")
        made, scored = learner(options(tmp_path)), replace(options(tmp_path, steps), score_episodes=1)
        made.resume(options(tmp_path))
        train(scored, made, MULTIGOAL, QUIET)
    assert learning_curve.read(tmp_path, "success").steps == (40, 80)


def test_a_continued_run_starts_new_episodes(tmp_path: Path) -> None:
    made, again = learner(options(tmp_path)), learner(options(tmp_path))
    made.core.tick()
    made.save(tmp_path, finished=False)
    again.resume(options(tmp_path))
    first = made.core.replay.draw(50, torch.Generator().manual_seed(0)).observation
    again.core.replay = type(again.core.replay)(100, 2, 2)
    again.core.tick()
    later = again.core.replay.draw(50, torch.Generator().manual_seed(0)).observation
    assert not set(map(tuple, later.tolist())) & set(map(tuple, first.tolist()))


def test_a_run_without_its_replay_refills_it_before_it_learns(tmp_path: Path) -> None:
    made = learner(options(tmp_path, 40))
    train(options(tmp_path, 40), made, MULTIGOAL, QUIET)
    again = learner(options(tmp_path))
    again.resume(options(tmp_path))
    for _ in range(9):
        again.core.tick()
    assert again.core.owed == 0
    again.core.tick()
    assert again.core.owed == 2


def test_the_checkpoint_of_another_training_is_refused(tmp_path: Path) -> None:
    made, other = learner(options(tmp_path)), learner(options(tmp_path))
    other.core.actor.extra = nn.Linear(2, 1)
    made.save(tmp_path, finished=False)
    with pytest.raises(FormatError, match="the checkpoint of this training"):
        other.resume(options(tmp_path))


@every_verb
@pytest.mark.parametrize("broken", ["observation", "reward"])
def test_a_nan_from_the_simulation_stops_the_run_and_the_last_checkpoint_stays(
    broken: str, verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks, step = iter(range(10**6)), SerialVectorEnv.step

    def poisoned(envs: SerialVectorEnv, actions: Any) -> Any:
        observations, rewards, *rest = step(envs, actions)
        if next(ticks) == 24:
            (observations if broken == "observation" else rewards)[1] = np.nan
        return observations, rewards, *rest

    monkeypatch.setattr(SerialVectorEnv, "step", poisoned)
    name = "following" if broken == "observation" else "reward"
    with pytest.raises(ContractError, match=f"step 50: {name}, environment 1.*expected a finite number, got nan"):
        verb_run(verb, tmp_path, "--steps", "1000")
    saved = checkpoint.load(tmp_path)
    assert saved is not None
    assert saved["step"] == 40
    for module in saved["modules"].values():
        assert all(bool(values.isfinite().all()) for values in module.values())


def test_a_figure_that_is_not_finite_stops_the_run_and_the_last_checkpoint_stays(tmp_path: Path) -> None:
    made = learner(options(tmp_path))
    train(options(tmp_path, 40), made, MULTIGOAL, QUIET)
    with torch.no_grad():
        next(iter(made.core.critics.parameters()))[0, 0] = torch.nan
    with pytest.raises(UsageError, match="expected finite figures, got nan for update/"):
        train(options(tmp_path), made, MULTIGOAL, QUIET)
    kept = checkpoint.load(tmp_path)
    assert kept is not None
    assert kept["step"] == 40
    assert all(bool(v.isfinite().all()) for v in kept["modules"]["critics"].values())


def test_a_replay_smaller_than_the_start_steps_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--capacity: expected at least --start-steps 20.* got 10"):
        verb_run("sac", tmp_path, "--capacity", "10")


def test_an_actor_that_would_never_start_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--actor-start-steps: expected fewer than --steps 60, got 60"):
        verb_run("sac", tmp_path, "--steps", "60", "--actor-start-steps", "60")
