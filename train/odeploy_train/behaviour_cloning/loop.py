"""The supervised loop: gradient steps with a cosine schedule, checkpoints, curves.

A run that is interrupted and continued gives the same weights, bit for bit, as one without interruption: the state
is saved only between steps, and it holds everything that the next step depends on.
"""

import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn

from odeploy_runtime.errors import FormatError
from odeploy_sim.demonstrations.dataset import Demonstrations
from odeploy_sim.tasks.task import Task
from odeploy_train.policies.kinds import PolicyConfig
from odeploy_train.runs import checkpoint, learning_curve
from odeploy_train.runs.divergence import require_finite_figures
from odeploy_train.runs.folder import Method, Options
from odeploy_train.runs.interrupts import Interrupts
from odeploy_train.runs.train_run import ThreadedOptions, train_run

LOG_STEPS = 50
CHECKPOINT_STEPS = 1000


@dataclass
class State:
    """Everything that the next step depends on.

    Attributes:
        policy: trained policy.
        optimizer: optimizer of its parameters.
        generator: generator of all random numbers.
        gathered: data that the training produces, such as visited observations and their labels.
        step: gradient steps so far.
    """

    policy: nn.Module
    optimizer: torch.optim.Optimizer
    generator: torch.Generator
    gathered: dict[str, Tensor] = field(default_factory=dict)
    step: int = 0

    def save(self, folder: Path) -> None:
        """Write the checkpoint."""
        checkpoint.save(
            folder,
            {
                "step": self.step,
                "policy": self.policy.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "generator": self.generator.get_state(),
                "gathered": self.gathered,
            },
        )

    def resume(self, folder: Path) -> None:
        """Restore the checkpoint, if there is one.

        Raises:
            FormatError: the checkpoint is damaged.
        """
        saved = checkpoint.load(folder)
        if saved is None:
            return
        checkpoint.restore(self.policy, saved["policy"], folder)
        try:
            self.optimizer.load_state_dict(saved["optimizer"])
            self.generator.set_state(saved["generator"])
            self.gathered, self.step = dict(saved["gathered"]), saved["step"]
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise FormatError(
                where=str(folder / checkpoint.CHECKPOINT),
                expected="optimizer, generator and gathered data",
                got=f"a checkpoint without them ({type(error).__name__})",
                remedy="remove the folder and train again",
            ) from None


class CloningOptions(ThreadedOptions, Protocol):
    """What the config of every behaviour-cloning verb has."""

    @property
    def score_episodes(self) -> int:
        """Episodes of the score at the end; 0 for none."""


@dataclass(frozen=True)
class Cloning:
    """The training of a run by this loop; a `runs.train_run.Training`.

    Attributes:
        options: folder, steps, peak learning rate, episodes of the score.
        state: advanced in place.
        objective: returns the loss of a fresh minibatch as a function; called after a checkpoint is restored.
        score: plays episodes with the trained policy, given their number; returns one line.
    """

    options: CloningOptions
    state: State
    objective: Callable[[], Callable[[], Tensor]]
    score: Callable[[int], str]

    @property
    def step(self) -> int:
        """Gradient steps so far."""
        return self.state.step

    def finished(self) -> bool:
        """Return whether no step is missing."""
        return self.state.step == self.options.steps

    def resume(self) -> None:
        """Restore the checkpoint of the run folder, if there is one."""
        self.state.resume(self.options.out)

    def train(self, console: Console) -> None:
        """Take the missing steps, then print a first score."""
        train(self.options, self.state, self.objective(), console)
        if self.options.score_episodes > 0:
            console.print(self.score(self.options.score_episodes))


def run(
    method: Method,
    config: CloningOptions,
    task: Task,
    sizes: PolicyConfig,
    start: Callable[[], Cloning],
    demonstrations: Demonstrations,
) -> None:
    """Train on demonstrations, or continue, and print the run folder; see `train_run`."""
    train_run(method, config, task, sizes, lambda: nullcontext(start()), data_hash=demonstrations.data_hash)


def train(options: Options, state: State, loss: Callable[[], Tensor], console: Console) -> None:
    """Take the missing steps.

    Args:
        options: folder, steps, peak learning rate.
        state: advanced in place.
        loss: returns the differentiable loss of a fresh minibatch.
        console: shows the progress.

    Raises:
        KeyboardInterrupt: interrupted; the checkpoint is written.
        UsageError: the loss is not finite any more.
    """
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with (
        learning_curve.writer(options.out, state.step) as curves,
        Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress,
        Interrupts() as interrupts,
    ):
        bar = progress.add_task("training", total=options.steps, completed=state.step)
        total, since, started = torch.zeros(()), state.step, time.monotonic()
        stop = False
        while state.step < options.steps and not stop:
            lr = cosine(state.step, options.steps, options.lr)
            total += _descend(state, loss, lr)
            state.step += 1
            if state.step % LOG_STEPS == 0 or state.step == options.steps:
                mean, now = float(total) / (state.step - since), time.monotonic()
                require_finite_figures({"loss": mean}, options.lr, state.step)
                curves.add_scalar("loss", mean, state.step)
                curves.add_scalar("lr", lr, state.step)
                curves.add_scalar("steps_per_s", (state.step - since) / (now - started), state.step)
                progress.update(bar, completed=state.step, description=f"loss {mean:.4f}")
                total, since, started = torch.zeros(()), state.step, now
            stop = interrupts.asked  # read once: it may come at any moment
            if stop or state.step % CHECKPOINT_STEPS == 0 or state.step == options.steps:
                require_finite_figures({"loss": float(total)}, options.lr, state.step)
                state.save(options.out)


def cosine(step: int, steps: int, peak: float) -> float:
    """Return the learning rate, which falls from `peak` to 0 along half a cosine."""
    return peak * (1 + math.cos(math.pi * step / steps)) / 2


def _descend(state: State, loss: Callable[[], Tensor], lr: float) -> Tensor:
    for group in state.optimizer.param_groups:
        group["lr"] = lr
    value = loss()
    state.optimizer.zero_grad()
    value.backward()  # type: ignore[no-untyped-call]
    state.optimizer.step()
    return value.detach()
