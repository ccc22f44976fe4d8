"""`odeploy train dp`, small: exact continuation, its card, and a fit to the demonstrations."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from odeploy_runtime.errors import UsageError
from odeploy_sim.catalogue import get
from odeploy_sim.demonstrations.dataset import load
from odeploy_train.behaviour_cloning import dp
from odeploy_train.modules.ddpm import epsilon_loss
from odeploy_train.policies.diffusion import DiffusionPolicy
from odeploy_train.runs import checkpoint
from odeploy_train.runs.folder import load_policy

TINY = ("--batch", "16", "--width", "16", "--depth", "2", "--diffusion-steps", "50", "--score-episodes", "0")


def arguments(demos: Path, out: Path, *more: str) -> list[str]:
    return ["--task", "maze-medium", "--demos", str(demos), "--out", str(out), "--steps", "60", *TINY, *more]


def weights(out: Path) -> dict[str, torch.Tensor]:
    policy, _ = load_policy(out)
    return dict(policy.state_dict())


def assert_same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> None:
    assert list(first) == list(second)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_an_interrupted_run_ends_with_the_weights_of_an_uninterrupted_one_and_another_seed_does_not(
    demos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dp.main(arguments(demos, tmp_path / "whole"))
    calls = iter(range(10**6))

    def loss(*inputs: Any) -> torch.Tensor:
        if next(calls) == 31:
            os.kill(os.getpid(), signal.SIGINT)
        return epsilon_loss(*inputs)

    with monkeypatch.context() as patch:
        patch.setattr(dp, "epsilon_loss", loss)
        with pytest.raises(KeyboardInterrupt):
            dp.main(arguments(demos, tmp_path / "cut"))
    saved = checkpoint.load(tmp_path / "cut")
    assert saved is not None
    assert saved["step"] == 32
    torch.randn(5)  # the global generator must not matter
    dp.main(arguments(demos, tmp_path / "cut"))
    dp.main(arguments(demos, tmp_path / "other", "--seed", "1"))
    assert_same(weights(tmp_path / "whole"), weights(tmp_path / "cut"))
    name = "denoiser.last.weight"
    assert not torch.equal(weights(tmp_path / "whole")[name], weights(tmp_path / "other")[name])


def test_a_run_prints_its_score_and_records_its_demonstrations(
    demos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    options = ("--schedule", "linear", "--no-clip", "--diffusion-steps", "5")
    dp.main(arguments(demos, out, *options, "--score-episodes", "1"))
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2].endswith("over 1 lockstep episodes")
    assert lines[-1] == f"run: {out}"
    policy, card = load_policy(out)
    assert isinstance(policy, DiffusionPolicy)
    data = load(str(demos), get("maze-medium"))
    assert (card.method, card.kind, card.data_hash) == ("dp", "diffusion", data.data_hash)
    assert (policy.levels.steps, policy.clips) == (5, False)
    torch.testing.assert_close(policy.action_std, torch.from_numpy(data.actions.std(axis=0)))
    dp.main(arguments(demos, out, *options))
    assert capsys.readouterr().out.splitlines() == ["finished already, at step 60", f"run: {out}"]


def test_another_schedule_in_the_same_folder_is_refused(demos: Path, tmp_path: Path) -> None:
    dp.main(arguments(demos, tmp_path))
    with pytest.raises(
        UsageError, match="--schedule: expected 'cosine' as in the run that is there, got 'linear'"
    ):
        dp.main(arguments(demos, tmp_path, "--schedule", "linear"))


def test_training_brings_samples_closer_to_the_demonstrations(demos: Path, tmp_path: Path) -> None:
    dp.main([*arguments(demos, tmp_path), "--steps", "800", "--batch", "64", "--width", "64"])
    policy, _ = load_policy(tmp_path)
    assert isinstance(policy, DiffusionPolicy)
    data = load(str(demos), get("maze-medium"))
    actions = torch.from_numpy(data.actions)
    noise = torch.randn(len(actions), 20, 2, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        sampled = policy.sample(torch.from_numpy(data.observations), noise, policy.levels.t_grid(20))
    spread = (actions - actions.mean(dim=0)).square().mean()
    assert (sampled.mean(dim=0) - actions.mean(dim=0)).abs().max() < 0.15
    # independent draws of one distribution differ by twice its variance; unconditioned ones by 2 spread
    assert (sampled - actions).square().mean() < 1.5 * spread


@pytest.mark.parametrize("option", ["--steps", "--batch", "--lr", "--width", "--depth", "--diffusion-steps"])
def test_an_option_of_zero_is_refused_and_nothing_is_written(demos: Path, tmp_path: Path, option: str) -> None:
    with pytest.raises(UsageError, match=f"{option}: expected a number above 0, got 0"):
        dp.main([*arguments(demos, tmp_path / "run"), option, "0"])
    assert not (tmp_path / "run").exists()
