"""The supervised loop: exact resumption, interrupts at the end of a step, learning curves and errors."""

import io
import math
import os
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor

from odeploy_runtime.errors import FormatError, UsageError
from odeploy_train.behaviour_cloning.loop import State, cosine, train
from odeploy_train.runs import checkpoint
from odeploy_train.runs.interrupts import Interrupts
from odeploy_train.runs.options import require_positive

QUIET = Console(file=io.StringIO())


@dataclass(frozen=True)
class Options:
    """Options of a training command."""

    out: Path
    steps: int = 60
    lr: float = 0.1
    seed: int = 0
    demos: str = ""


def fresh() -> State:
    layer = torch.nn.Linear(3, 1)
    torch.nn.init.ones_(layer.weight)
    torch.nn.init.zeros_(layer.bias)
    return State(layer, torch.optim.Adam(layer.parameters(), fused=True), torch.Generator().manual_seed(1))


def regression(state: State, at_step: Callable[[int], None] = lambda step: None) -> Callable[[], Tensor]:
    def loss() -> Tensor:
        at_step(state.step)
        x = torch.randn(8, 3, generator=state.generator)
        error: Tensor = state.policy(x) - x.sum(dim=1, keepdim=True) * 2 - 1
        return error.square().mean()

    return loss


def kill_at(step: int, number: signal.Signals = signal.SIGINT) -> Callable[[int], None]:
    return lambda now: os.kill(os.getpid(), number) if now == step else None


def interrupt_within() -> None:
    with Interrupts() as interrupts:
        os.kill(os.getpid(), signal.SIGINT)
        assert interrupts.asked


def weights(state: State) -> Tensor:
    return torch.nn.utils.parameters_to_vector(state.policy.parameters()).detach()


def test_training_learns_the_line(tmp_path: Path) -> None:
    state = fresh()
    train(Options(tmp_path, steps=300), state, regression(state), QUIET)
    torch.testing.assert_close(weights(state), torch.tensor([2.0, 2.0, 2.0, 1.0]), atol=0.01, rtol=0)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_resuming_gives_the_same_weights_as_an_uninterrupted_run(tmp_path: Path, number: signal.Signals) -> None:
    whole = fresh()
    train(Options(tmp_path / "whole"), whole, regression(whole), QUIET)
    (tmp_path / "cut").mkdir()
    cut = fresh()
    with pytest.raises(KeyboardInterrupt):
        train(Options(tmp_path / "cut"), cut, regression(cut, kill_at(23, number)), QUIET)
    assert cut.step == 24  # the interrupted step is finished
    again = fresh()
    again.resume(tmp_path / "cut")
    assert again.step == 24
    train(Options(tmp_path / "cut"), again, regression(again), QUIET)
    assert torch.equal(weights(again), weights(whole))
    assert torch.equal(again.generator.get_state(), whole.generator.get_state())


def test_gathered_data_is_resumed_too(tmp_path: Path) -> None:
    state = fresh()
    state.gathered, state.step = {"labels": torch.arange(5.0)}, 7
    state.save(tmp_path)
    again = fresh()
    again.resume(tmp_path)
    assert again.step == 7
    assert again.gathered["labels"].tolist() == [0, 1, 2, 3, 4]


def test_a_second_interrupt_stops_within_the_step(tmp_path: Path) -> None:
    state = fresh()

    def twice(step: int) -> None:
        if step == 5:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(Options(tmp_path), state, regression(state, twice), QUIET)
    assert state.step == 5
    assert checkpoint.load(tmp_path) is None


def test_an_interrupt_after_the_last_step_is_not_swallowed() -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        interrupt_within()
    assert signal.getsignal(signal.SIGINT) is before


def test_training_runs_in_a_thread(tmp_path: Path) -> None:
    state = fresh()
    thread = threading.Thread(target=train, args=(Options(tmp_path), state, regression(state), QUIET))
    thread.start()
    thread.join()
    assert state.step == 60


def test_learning_curves_contain_loss_learning_rate_and_speed(tmp_path: Path) -> None:
    state = fresh()
    train(Options(tmp_path, steps=120), state, regression(state), QUIET)
    curves = EventAccumulator(str(tmp_path))
    curves.Reload()
    assert [event.step for event in curves.Scalars("loss")] == [50, 100, 120]
    assert curves.Scalars("loss")[0].value > curves.Scalars("loss")[2].value > 0
    assert [e.value for e in curves.Scalars("lr")] == pytest.approx([cosine(s, 120, 0.1) for s in (49, 99, 119)])
    assert min(event.value for event in curves.Scalars("steps_per_s")) > 1


def test_a_continued_training_keeps_the_figures_of_its_checkpoint(tmp_path: Path) -> None:
    cut, again = fresh(), fresh()
    with pytest.raises(KeyboardInterrupt):
        train(Options(tmp_path), cut, regression(cut, kill_at(49, signal.SIGTERM)), QUIET)
    (file,) = tmp_path.glob("events*")
    file.rename(tmp_path / "events.out.tfevents.0000000001")  # file names of sessions differ only by the second
    again.resume(tmp_path)
    train(Options(tmp_path), again, regression(again), QUIET)
    assert [event.step for event in EventAccumulator(str(tmp_path)).Reload().Scalars("loss")] == [50, 60]


def test_a_loss_that_is_not_finite_stops_the_run_and_is_not_saved(tmp_path: Path) -> None:
    state = fresh()
    with pytest.raises(
        UsageError, match=r"--lr 0.1, step 50: expected finite figures, got nan for loss; .* lower --lr"
    ):
        train(Options(tmp_path), state, lambda: state.policy(torch.full((1, 3), math.nan)).sum(), QUIET)
    assert checkpoint.load(tmp_path) is None


def test_a_checkpoint_without_an_optimizer_is_refused(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, {"step": 1, "policy": fresh().policy.state_dict()})
    with pytest.raises(FormatError, match="expected optimizer, generator and gathered data"):
        fresh().resume(tmp_path)


def test_the_learning_rate_falls_along_half_a_cosine() -> None:
    assert [cosine(s, 4, 2.0) for s in range(5)] == pytest.approx(
        [2, 1 + math.sqrt(0.5), 1, 1 - math.sqrt(0.5), 0]
    )


@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf])
def test_an_option_that_is_not_positive_is_named(value: float) -> None:
    require_positive(steps=1, lr=1e-9)
    with pytest.raises(UsageError, match="--teacher-steps: expected a number above 0"):
        require_positive(lr=1, teacher_steps=value)
