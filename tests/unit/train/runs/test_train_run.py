"""The common body of training commands: folder, checkpoint, remaining steps."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from rich.console import Console

from odeploy_runtime.errors import UsageError
from odeploy_sim.catalogue import get
from odeploy_train.policies.mlp import MlpConfig
from odeploy_train.runs.folder import read_card
from odeploy_train.runs.train_run import train_run

HOPPER = get("hopper")
SIZES = MlpConfig(11, 3, (4,))


@dataclass(frozen=True)
class Options:
    """Options of a training command."""

    out: Path
    steps: int = 10
    lr: float = 0.1
    seed: int = 0
    threads: int = 1


@dataclass
class Recorded:
    """A training that records its calls."""

    step: int = 0
    calls: list[str] = field(default_factory=list)

    def finished(self) -> bool:
        return self.step >= 10

    def resume(self) -> None:
        self.calls.append("resume")

    def train(self, console: Console) -> None:
        self.calls.append("train")
        console.print("a score")

    @contextmanager
    def start(self) -> Iterator["Recorded"]:
        self.calls.append("start")
        yield self
        self.calls.append("end")


def run(training: Recorded, options: Options) -> None:
    train_run("ppo", options, HOPPER, SIZES, training.start, data_hash="abc", teacher={"weights_hash": "1"})


def test_a_run_gets_its_card_and_trains_from_its_checkpoint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    training = Recorded()
    run(training, Options(tmp_path / "run"))
    assert training.calls == ["start", "resume", "train", "end"]
    card = read_card(tmp_path / "run")
    assert (card.method, card.kind, card.task, card.data_hash) == ("ppo", "mlp", "hopper", "abc")
    assert card.teacher == {"weights_hash": "1"}
    assert capsys.readouterr().out == f"a score\nrun: {tmp_path / 'run'}\n"
    assert torch.get_num_threads() == 1


def test_a_finished_run_is_not_trained_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    training = Recorded(step=10)
    run(training, Options(tmp_path))
    assert training.calls == ["start", "resume", "end"]
    assert capsys.readouterr().out == f"finished already, at step 10\nrun: {tmp_path}\n"


def test_another_runs_folder_is_refused_before_the_training_starts(tmp_path: Path) -> None:
    run(Recorded(), Options(tmp_path))
    training = Recorded()
    with pytest.raises(UsageError, match=r"--lr: expected 0\.1 as in the run that is there, got 0\.2"):
        run(training, Options(tmp_path, lr=0.2))
    assert training.calls == []
