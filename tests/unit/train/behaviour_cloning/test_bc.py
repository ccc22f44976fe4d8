"""`odeploy train bc`, small: fit of a linear expert, exact continuation, the deployed MLP."""

import dataclasses
import os
import signal
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from rich.console import Console

from odeploy_runtime.errors import UsageError
from odeploy_sim.catalogue import get
from odeploy_sim.demonstrations.dataset import Demonstrations, load
from odeploy_train.behaviour_cloning import bc
from odeploy_train.behaviour_cloning.bc import Config, objective, start
from odeploy_train.behaviour_cloning.loop import train
from odeploy_train.policies.mlp import MlpConfig, MlpPolicy
from odeploy_train.runs import checkpoint
from odeploy_train.runs.folder import load_policy

TINY = ("--batch", "16", "--widths", "16", "--score-episodes", "0")


def arguments(demos: Path, out: Path, *more: str) -> list[str]:
    return ["--task", "maze-medium", "--demos", str(demos), "--out", str(out), "--steps", "60", *TINY, *more]


def weights(out: Path) -> dict[str, torch.Tensor]:
    policy, _ = load_policy(out)
    return dict(policy.state_dict())


@pytest.mark.parametrize("activation", ["Tanh", "ReLU"])
def test_bc_fits_a_linear_expert_and_generalises_to_new_observations(
    activation: Literal["Tanh", "ReLU"], demos: Path, tmp_path: Path
) -> None:
    task = get("maze-medium")
    generator = torch.Generator().manual_seed(0)
    gain = torch.randn(6, 2, generator=generator) * torch.tensor([0.12, 0.08])
    seen, new = (torch.randn(rows, 6, generator=generator) * 2 + 1 for rows in (2000, 500))
    expert: Demonstrations = dataclasses.replace(
        load(str(demos), task), observations=seen.numpy(), actions=(seen @ gain).clamp(-0.9, 0.9).numpy()
    )
    config = Config(task.name, str(demos), tmp_path, 800, 64, 1e-2, (32,), activation)
    policy, state = start(config, MlpConfig(6, 2, (32,), activation, squash=True), task, expert)
    train(config, state, objective(config, policy, state, expert), Console(quiet=True))
    with torch.no_grad():
        error = policy(new) - (new @ gain).clamp(-0.9, 0.9)
    assert (new @ gain).std() > 0.3
    assert error.square().mean().sqrt() < 0.04


def test_an_interrupted_run_ends_with_the_weights_of_an_uninterrupted_one_and_another_seed_does_not(
    demos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bc.main(arguments(demos, tmp_path / "whole"))
    calls = iter(range(10**6))

    def interrupting(*inputs: Any) -> Any:
        loss = objective(*inputs)

        def one() -> torch.Tensor:
            if next(calls) == 31:
                os.kill(os.getpid(), signal.SIGINT)
            return loss()

        return one

    with monkeypatch.context() as patch:
        patch.setattr(bc, "objective", interrupting)
        with pytest.raises(KeyboardInterrupt):
            bc.main(arguments(demos, tmp_path / "cut"))
    saved = checkpoint.load(tmp_path / "cut")
    assert saved is not None
    assert saved["step"] == 32
    torch.randn(5)  # the global generator must not matter
    bc.main(arguments(demos, tmp_path / "cut"))
    bc.main(arguments(demos, tmp_path / "other", "--seed", "1"))
    whole, cut, other = (weights(tmp_path / name) for name in ("whole", "cut", "other"))
    assert all(torch.equal(whole[name], cut[name]) for name in whole)
    assert not torch.equal(whole["layers.0.weight"], other["layers.0.weight"])


def test_a_run_prints_its_score_and_deploys_an_mlp(
    demos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    bc.main([*arguments(demos, out), "--score-episodes", "2", "--activation", "ReLU"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2].endswith("over 2 lockstep episodes")
    assert lines[-1] == f"run: {out}"
    policy, card = load_policy(out)
    data = load(str(demos), get("maze-medium"))
    assert isinstance(policy, MlpPolicy)
    assert (card.method, card.kind, card.data_hash) == ("bc", "mlp", data.data_hash)
    assert (policy.config.activation, policy.config.squash) == ("ReLU", True)
    mean = torch.from_numpy(data.observations).double().mean(dim=0)
    torch.testing.assert_close(policy.observation_mean, mean, rtol=1e-5, atol=1e-5)
    far = policy(mean + 1e3 * torch.ones(1, 6, dtype=torch.float64))
    assert ((far >= policy.low) & (far <= policy.high)).all()


@pytest.mark.parametrize("option", ["--steps", "--batch", "--lr", "--widths"])
def test_an_option_of_zero_is_refused_and_nothing_is_written(demos: Path, tmp_path: Path, option: str) -> None:
    with pytest.raises(UsageError, match=f"{option}: expected a number above 0, got 0"):
        bc.main([*arguments(demos, tmp_path / "run"), option, "0"])
    assert not (tmp_path / "run").exists()


def test_a_policy_of_chunks_returns_several_actions_within_their_limits(
    demos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    bc.main([*arguments(demos, out, "--horizon", "4"), "--score-episodes", "2"])
    assert "over 2 lockstep episodes" in capsys.readouterr().out
    policy, _ = load_policy(out)
    assert isinstance(policy, MlpPolicy)
    answer = policy(1e3 * torch.ones(2, 6, dtype=torch.float64))
    assert answer.shape == (2, 8)
    assert (answer.abs() <= 1).all()
