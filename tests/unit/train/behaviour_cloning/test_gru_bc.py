"""`odeploy train gru-bc`, small: an expert that needs memory, parallel episodes, exact continuation."""

import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from odeploy_runtime.errors import UsageError
from odeploy_sim.catalogue import get
from odeploy_sim.demonstrations.dataset import Demonstrations, load
from odeploy_train.behaviour_cloning import gru_bc
from odeploy_train.behaviour_cloning.gru_bc import Config, Regression, start
from odeploy_train.behaviour_cloning.loop import State, train
from odeploy_train.policies.recurrent import RecurrentConfig, RecurrentPolicy
from odeploy_train.runs import checkpoint
from odeploy_train.runs.folder import load_policy

MAZE = get("maze-medium")
TINY = ("--lanes", "4", "--ticks", "5", "--state-size", "8", "--score-episodes", "0")


def arguments(demos: Path, out: Path, *more: str) -> list[str]:
    return ["--task", "maze-medium", "--demos", str(demos), "--out", str(out), "--steps", "40", *TINY, *more]


def episodes(lengths: list[int]) -> Demonstrations:
    """Return episodes whose action is the previous tick's observation, first 0."""
    rng, observations, actions = np.random.default_rng(0), [], []
    for length in lengths:
        seen = rng.uniform(-0.8, 0.8, (length, 6)).astype(np.float32)
        observations.append(seen)
        actions.append(np.concatenate([np.zeros((1, 2), np.float32), seen[:-1, :2]]))
    starts = np.cumsum([0, *lengths[:-1]])
    flat, commands = np.concatenate(observations), np.concatenate(actions)
    return Demonstrations(flat, commands, starts, "", np.zeros(len(lengths)), None)


def cloning(config: Config, demonstrations: Demonstrations) -> tuple[Regression, RecurrentPolicy, State]:
    policy, state = start(config, RecurrentConfig(6, 2, config.state_size), MAZE, demonstrations)
    return Regression(config, policy, state, demonstrations), policy, state


def test_gru_bc_learns_an_expert_that_acts_on_the_previous_observation(tmp_path: Path) -> None:
    config = Config("maze-medium", "", tmp_path, steps=120, lanes=16, ticks=4, lr=2e-2, state_size=16)
    expert, new = episodes([30, 45, 23] * 20), episodes([40])
    objective, policy, state = cloning(config, expert)
    train(config, state, objective.loss, Console(quiet=True))
    with torch.no_grad():
        answer, _ = policy.unroll(torch.from_numpy(new.observations)[None], policy.first_state(1))
    error = answer[0] - torch.from_numpy(new.actions)
    assert error.square().mean().sqrt() < 0.2 < new.actions.std() / 2


def test_a_lane_carries_its_state_along_an_episode_and_starts_the_next_one_from_zeros(
    tmp_path: Path,
) -> None:
    config = Config("maze-medium", "", tmp_path, lanes=3, ticks=4, state_size=5)
    demonstrations = episodes([10, 6])
    objective, policy, state = cloning(config, demonstrations)
    started = 0
    for _ in range(12):
        before = {name: values.clone() for name, values in state.gathered.items()}
        objective.loss()
        after = state.gathered
        for lane in range(3):
            episode, tick = int(before["episode"][lane]), int(before["tick"][lane])
            at, length = int(demonstrations.starts[episode]) + tick, int(demonstrations.lengths[episode])
            if tick + 4 >= length:
                started += 1
                assert int(after["tick"][lane]) == 0
                assert not after["memory"][lane].any()
            else:
                rows = torch.from_numpy(demonstrations.observations[at : at + 4])
                _, states = policy.unroll(rows[None], before["memory"][None, lane])
                assert (int(after["episode"][lane]), int(after["tick"][lane])) == (episode, tick + 4)
                torch.testing.assert_close(after["memory"][lane], states[0, -1])
                assert not after["memory"].requires_grad
    assert started > 6


def test_ticks_beyond_an_episodes_end_do_not_count_in_the_loss(tmp_path: Path) -> None:
    config = Config("maze-medium", "", tmp_path, lanes=2, ticks=9, state_size=5)
    demonstrations = episodes([7, 7])
    objective, policy, state = cloning(config, demonstrations)
    rows = [slice(7 * e, 7 * e + 7) for e in state.gathered["episode"].tolist()]
    seen, expected = (
        torch.stack([torch.from_numpy(a[r]) for r in rows])
        for a in (demonstrations.observations, demonstrations.actions)
    )
    answer, _ = policy.unroll(seen, policy.first_state(2))
    torch.testing.assert_close(objective.loss(), (answer - expected).square().mean())


def test_an_interrupted_run_ends_with_the_weights_of_an_uninterrupted_one_and_another_seed_does_not(
    demos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gru_bc.main(arguments(demos, tmp_path / "whole"))
    original = Regression.loss

    def loss(self: Regression) -> torch.Tensor:
        if self._state.step == 21:
            os.kill(os.getpid(), signal.SIGINT)
        return original(self)

    with monkeypatch.context() as patch:
        patch.setattr(Regression, "loss", loss)
        with pytest.raises(KeyboardInterrupt):
            gru_bc.main(arguments(demos, tmp_path / "cut"))
    saved = checkpoint.load(tmp_path / "cut")
    assert saved is not None
    assert saved["step"] == 22
    torch.randn(5)  # the global generator must not matter
    gru_bc.main(arguments(demos, tmp_path / "cut"))
    gru_bc.main(arguments(demos, tmp_path / "other", "--seed", "1"))
    whole, cut, other = (load_policy(tmp_path / name)[0].state_dict() for name in ("whole", "cut", "other"))
    assert all(torch.equal(whole[name], cut[name]) for name in whole)
    assert not torch.equal(whole["gru.weight_ih_l0"], other["gru.weight_ih_l0"])


def test_a_run_prints_its_score_and_deploys_a_recurrent_policy(
    demos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    gru_bc.main([*arguments(demos, out), "--score-episodes", "2"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2].endswith("over 2 lockstep episodes")
    assert lines[-1] == f"run: {out}"
    policy, card = load_policy(out)
    assert isinstance(policy, RecurrentPolicy)
    assert (card.method, card.kind, card.data_hash) == ("gru-bc", "recurrent", load(str(demos), MAZE).data_hash)
    gru_bc.main([*arguments(demos, out), "--score-episodes", "2"])
    assert "finished already, at step 40" in capsys.readouterr().out


@pytest.mark.parametrize("option", ["--steps", "--lanes", "--ticks", "--lr", "--state-size"])
def test_an_option_of_zero_is_refused_and_nothing_is_written(demos: Path, tmp_path: Path, option: str) -> None:
    with pytest.raises(UsageError, match=f"{option}: expected a number above 0, got 0"):
        gru_bc.main([*arguments(demos, tmp_path / "run"), option, "0"])
    assert not (tmp_path / "run").exists()
