"""`odeploy train fm-bc`, small: reproducible, exact continuation, and a fit to the demonstrations."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from odeploy_runtime.errors import FormatError, MissingError, UsageError
from odeploy_sim.catalogue import get
from odeploy_sim.demonstrations.dataset import load
from odeploy_train.behaviour_cloning import fm_bc
from odeploy_train.behaviour_cloning.action_chunks import chunks
from odeploy_train.modules.flow_matching import flow_matching_loss
from odeploy_train.modules.ode import EULER, uniform_grid
from odeploy_train.policies.flow import FlowPolicy
from odeploy_train.runs import checkpoint
from odeploy_train.runs.folder import load_policy

TINY = ("--batch", "16", "--width", "16", "--depth", "2", "--threads", "1", "--score-episodes", "0")


def arguments(demos: Path, out: Path, *more: str) -> list[str]:
    return ["--task", "maze-medium", "--demos", str(demos), "--out", str(out), "--steps", "60", *TINY, *more]


def weights(out: Path) -> dict[str, torch.Tensor]:
    policy, _ = load_policy(out)
    return dict(policy.state_dict())


def assert_same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> None:
    assert list(first) == list(second)
    assert all(torch.equal(first[name], second[name]) for name in first)


def run_interrupted(arguments: list[str], call: int, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = iter(range(10**6))

    def loss(*inputs: Any) -> torch.Tensor:
        if next(calls) == call:
            os.kill(os.getpid(), signal.SIGINT)
        return flow_matching_loss(*inputs)

    with monkeypatch.context() as patch:
        patch.setattr(fm_bc, "flow_matching_loss", loss)
        fm_bc.main(arguments)


def test_the_same_seed_gives_the_same_weights_and_another_does_not(demos: Path, tmp_path: Path) -> None:
    fm_bc.main(arguments(demos, tmp_path / "a"))
    torch.randn(5)  # the global generator must not matter
    fm_bc.main(arguments(demos, tmp_path / "b"))
    fm_bc.main(arguments(demos, tmp_path / "c", "--seed", "1"))
    assert_same(weights(tmp_path / "a"), weights(tmp_path / "b"))
    name = "velocity.last.weight"
    assert not torch.equal(weights(tmp_path / "a")[name], weights(tmp_path / "c")[name])


def test_resuming_gives_the_same_weights_as_an_uninterrupted_run(
    demos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fm_bc.main(arguments(demos, tmp_path / "whole"))
    with pytest.raises(KeyboardInterrupt):
        run_interrupted(arguments(demos, tmp_path / "cut"), 31, monkeypatch)
    saved = checkpoint.load(tmp_path / "cut")
    assert saved is not None
    assert saved["step"] == 32
    fm_bc.main(arguments(demos, tmp_path / "cut"))
    assert_same(weights(tmp_path / "whole"), weights(tmp_path / "cut"))


def test_a_finished_run_is_reported_and_unchanged(
    demos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    fm_bc.main(arguments(demos, out, "--score-episodes", "2"))
    first = capsys.readouterr().out.splitlines()
    assert first[-2].endswith("over 2 lockstep episodes")
    assert first[-1] == f"run: {out}"
    before = (out / checkpoint.CHECKPOINT).stat().st_mtime_ns
    fm_bc.main(arguments(demos, out))
    assert capsys.readouterr().out.splitlines() == ["finished already, at step 60", f"run: {out}"]
    assert (out / checkpoint.CHECKPOINT).stat().st_mtime_ns == before


def test_another_option_in_the_same_folder_is_refused(demos: Path, tmp_path: Path) -> None:
    fm_bc.main(arguments(demos, tmp_path))
    with pytest.raises(UsageError, match="--depth: expected 2 as in the run that is there, got 3"):
        fm_bc.main([*arguments(demos, tmp_path), "--depth", "3"])


def test_a_damaged_checkpoint_is_not_overwritten(demos: Path, tmp_path: Path) -> None:
    fm_bc.main(arguments(demos, tmp_path))
    path = tmp_path / checkpoint.CHECKPOINT
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(FormatError, match="expected the checkpoint that this run saved"):
        fm_bc.main(arguments(demos, tmp_path))
    assert path.stat().st_size == 1000


def test_a_run_records_its_demonstrations(demos: Path, tmp_path: Path) -> None:
    fm_bc.main(arguments(demos, tmp_path))
    policy, card = load_policy(tmp_path)
    data = load(str(demos), get("maze-medium"))
    assert isinstance(policy, FlowPolicy)
    assert (card.method, card.kind, card.task, card.data_hash) == ("fm-bc", "flow", "maze-medium", data.data_hash)
    assert card.demos == str(demos)
    torch.testing.assert_close(policy.observation_mean, torch.from_numpy(data.observations.mean(axis=0)))
    torch.testing.assert_close(policy.action_std, torch.from_numpy(data.actions.std(axis=0)))
    assert policy.high.tolist() == [1.0, 1.0]


def test_training_brings_samples_closer_to_the_demonstrations(demos: Path, tmp_path: Path) -> None:
    fm_bc.main([*arguments(demos, tmp_path), "--steps", "800", "--batch", "64", "--width", "64"])
    policy, _ = load_policy(tmp_path)
    assert isinstance(policy, FlowPolicy)
    data = load(str(demos), get("maze-medium"))
    actions = torch.from_numpy(data.actions)
    noise = torch.randn(actions.shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        sampled = policy.sample(torch.from_numpy(data.observations), noise, EULER, uniform_grid(10))
    spread = (actions - actions.mean(dim=0)).square().mean()
    assert (sampled.mean(dim=0) - actions.mean(dim=0)).abs().max() < 0.15
    # independent draws of one distribution differ by twice its variance; unconditioned ones by 2 spread
    assert (sampled - actions).square().mean() < 1.5 * spread


@pytest.mark.parametrize("option", ["--steps", "--batch", "--lr", "--width", "--depth", "--threads"])
def test_an_option_of_zero_is_refused_and_nothing_is_written(demos: Path, tmp_path: Path, option: str) -> None:
    with pytest.raises(UsageError, match=f"{option}: expected a number above 0, got 0"):
        fm_bc.main([*arguments(demos, tmp_path / "run"), option, "0"])
    assert not (tmp_path / "run").exists()


def test_an_unknown_task_is_refused(demos: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="got 'maze-larg'"):
        fm_bc.main([*arguments(demos, tmp_path), "--task", "maze-larg"])


def test_a_policy_of_chunks_learns_the_following_actions_and_keeps_their_limits(
    demos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    fm_bc.main([*arguments(demos, out, "--horizon", "3"), "--score-episodes", "2"])
    assert "over 2 lockstep episodes" in capsys.readouterr().out
    policy, _ = load_policy(out)
    assert isinstance(policy, FlowPolicy)
    assert (policy.config.horizon, policy.config.chunk_size, policy.velocity.action_size) == (3, 6, 6)
    data = load(str(demos), get("maze-medium"))
    torch.testing.assert_close(policy.action_mean, chunks(data, 3).mean(dim=0))
    far = policy.sample(torch.zeros(1, 6), torch.full((1, 6), 50.0), EULER, uniform_grid(2))
    assert torch.equal(far, policy.high[None])
    assert policy.high.tolist() == [1.0] * 6


def test_a_horizon_of_zero_is_refused(demos: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--horizon: expected a number above 0, got 0"):
        fm_bc.main(arguments(demos, tmp_path / "run", "--horizon", "0"))
