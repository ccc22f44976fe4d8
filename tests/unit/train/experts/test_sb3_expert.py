"""Training an expert: the best is kept, runs continue, and no pickle is needed to read the result."""

import json
import math
import os
import signal
from dataclasses import replace
from inspect import signature
from pathlib import Path

import numpy as np
import pytest
import stable_baselines3 as sb3
import torch
from torch import Tensor

from odeploy_runtime.errors import UsageError
from odeploy_sim.catalogue import get
from odeploy_sim.own_tasks.reference import resolve
from odeploy_sim.tasks.task import Task
from odeploy_train.experts import sb3_expert as experts
from odeploy_train.experts.sb3_expert import BEST, NORMALISER, SCORES
from odeploy_train.experts.sb3_settings import SETTINGS, Algorithm, ExpertSettings, plain
from odeploy_train.runs import checkpoint
from odeploy_train.runs.folder import CARD
from odeploy_train.runs.rollouts import Episodes, Rollouts

PPO = ExpertSettings("PPO", 256, 1e9, 2, 128, {"n_steps": 32, "batch_size": 32, "n_epochs": 1, "gamma": 0.99})
SAC = ExpertSettings(
    "SAC", 96, 1e9, 1, 48, {"gamma": 0.99, "learning_starts": 16, "policy_kwargs": {"net_arch": [16]}}
)
SMALL = {"hopper": PPO, "fetch-reach": SAC}


@pytest.fixture(autouse=True)
def small_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(experts, "SETTINGS", SMALL)
    monkeypatch.setattr(experts, "_SCORE_EPISODES", 2)


def scores(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / SCORES).read_text().splitlines()]


@pytest.mark.parametrize("task", ["hopper", "fetch-reach"])
def test_an_expert_is_scored_at_its_intervals_and_the_best_is_kept(tmp_path: Path, task: str) -> None:
    experts.main(["--task", task, "--out", str(tmp_path / "run")])
    settings, found = SMALL[task], scores(tmp_path / "run")
    assert [line["steps"] for line in found] == list(
        range(settings.score_every, settings.steps + 1, settings.score_every)
    )
    saved = checkpoint.load(tmp_path / "run")
    assert saved is not None
    assert saved["best"] == max(line["score"] for line in found)
    assert (tmp_path / "run" / BEST).stat().st_size > 1000


def test_the_kept_normaliser_is_that_of_the_best_score(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Tensor] = []
    given = iter([3.0, 1.0])

    def play(_self: Rollouts, act: object, _seed: int, episodes: int) -> Episodes:
        probe = torch.ones(1, 11)
        seen.append(act(probe))  # type: ignore[operator]
        return Episodes(probe, np.full(episodes, next(given)), np.zeros(episodes, bool))

    monkeypatch.setattr(Rollouts, "play", play)
    experts.main(["--task", "hopper", "--out", str(tmp_path / "run")])
    with np.load(tmp_path / "run" / NORMALISER, allow_pickle=False) as kept:
        assert kept["mean"].shape == (11,)
        assert (kept["var"] > 0).all()
        best = dict(kept)
    saved = checkpoint.load(tmp_path / "run")
    assert saved is not None
    assert not np.array_equal(best["mean"], saved["moments"][0].numpy())  # the last one differs
    assert not torch.equal(seen[0], seen[1])


def test_training_stops_at_a_sufficient_score(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    easy = ExpertSettings("PPO", 256, -1e9, 2, 128, PPO.options)
    monkeypatch.setattr(experts, "SETTINGS", {"hopper": easy})
    experts.main(["--task", "hopper", "--out", str(tmp_path / "run")])
    assert [line["steps"] for line in scores(tmp_path / "run")] == [128]
    experts.main(["--task", "hopper", "--out", str(tmp_path / "run")])  # the run is finished
    assert len(scores(tmp_path / "run")) == 1


def test_an_interrupted_run_continues_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Rollouts.play

    def interrupted(self: Rollouts, act: object, seed: int, episodes: int) -> Episodes:
        os.kill(os.getpid(), signal.SIGINT)
        return real(self, act, seed, episodes)  # type: ignore[arg-type]

    monkeypatch.setattr(Rollouts, "play", interrupted)
    with pytest.raises(KeyboardInterrupt):
        experts.main(["--task", "hopper", "--out", str(tmp_path / "run")])
    stopped = checkpoint.load(tmp_path / "run")
    assert stopped is not None
    assert stopped["step"] == 128
    monkeypatch.setattr(Rollouts, "play", real)
    experts.main(["--task", "hopper", "--out", str(tmp_path / "run")])
    assert [line["steps"] for line in scores(tmp_path / "run")] == [128, 256]
    continued = checkpoint.load(tmp_path / "run")
    assert continued is not None
    assert continued["moments"][2] > stopped["moments"][2]  # the normaliser's count continues


@pytest.mark.parametrize(("task", "algorithm"), [("gym:Reacher-v5", "PPO"), ("hopper", "SAC")])
def test_any_task_has_plain_settings_and_a_best_policy_however_few_the_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: str, algorithm: Algorithm
) -> None:
    def quick(task: Task, algorithm: Algorithm, steps: int | None) -> ExpertSettings:
        options = PPO.options if algorithm == "PPO" else SAC.options
        return replace(plain(task, algorithm, steps), envs=1, options=options)

    monkeypatch.setattr(experts, "plain", quick)
    experts.main(["--task", task, "--algorithm", algorithm, "--steps", "64", "--out", str(tmp_path / "run")])
    assert [line["steps"] for line in scores(tmp_path / "run")] == list(range(6, 65, 6))
    card = json.loads((tmp_path / "run" / CARD).read_text())
    assert card["method"] == f"expert ({algorithm})"
    assert (card["task"], card["task_digest"]) == (resolve(task).name, resolve(task).digest)  # never a reference
    assert (tmp_path / "run" / BEST).stat().st_size > 1000


def test_a_task_with_settings_is_scored_however_few_the_steps(tmp_path: Path) -> None:
    experts.main(["--task", "hopper", "--steps", "64", "--out", str(tmp_path / "run")])
    assert [line["steps"] for line in scores(tmp_path / "run")] == [64]


@pytest.mark.parametrize(("algorithm", "steps"), [("PPO", 1_000_000), ("SAC", 200_000)])
def test_plain_settings_are_options_of_the_algorithm(algorithm: Algorithm, steps: int) -> None:
    made = plain(get("hopper"), algorithm, None)
    assert (made.algorithm, made.steps, made.score_every, made.enough) == (algorithm, steps, steps // 10, math.inf)
    assert set(made.options) <= set(signature(getattr(sb3, algorithm)).parameters)
    assert plain(get("maze-medium"), algorithm, 7).enough == 0.95
    assert plain(get("maze-medium"), algorithm, 7).score_every == 1


def test_the_first_noise_of_ppo_follows_the_actions_limits() -> None:
    task = get("hopper")
    wide = replace(task, action=tuple(replace(s, low=-40.0, high=40.0) for s in task.action), safe_action=())
    for made, half_range in ((task, 1), (wide, 40)):
        noise = plain(made, "PPO", None).options["policy_kwargs"]["log_std_init"]
        assert math.exp(noise) == pytest.approx(half_range / 2)


def test_another_run_is_not_overwritten(tmp_path: Path) -> None:
    experts.main(["--task", "hopper", "--out", str(tmp_path / "run")])
    with pytest.raises(UsageError, match="a new folder, or that of the same run"):
        experts.main(["--task", "hopper", "--out", str(tmp_path / "run"), "--seed", "1"])


def test_all_settings_have_a_catalogued_task_and_options_of_its_algorithm() -> None:
    for name, settings in SETTINGS.items():
        assert get(name).name == name
        taken = signature(getattr(sb3, settings.algorithm)).parameters
        assert set(settings.options) <= set(taken)
