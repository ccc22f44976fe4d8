"""The loop of every learner that explores: iterations, scores, checkpoints.

A checkpoint holds weights, optimizers, normalisers, random numbers and the count of steps. It does not hold the
simulations: a continued run begins new episodes, with seeds that it has not used.
"""

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from odeploy_sim.tasks.task import Task
from odeploy_train.policies.kinds import Policy
from odeploy_train.runs import learning_curve
from odeploy_train.runs.best_policy import Kept, Scorer
from odeploy_train.runs.folder import Options
from odeploy_train.runs.interrupts import Interrupts
from odeploy_train.runs.options import Keep
from odeploy_train.runs.rollouts import Rollouts


class ScoredOptions(Options, Protocol):
    """What the config of every verb with scores during training has."""

    @property
    def score_every(self) -> int:
        """Environment steps between two scores."""

    @property
    def score_episodes(self) -> int:
        """Episodes per score; 0 for none."""

    @property
    def keep(self) -> Keep:
        """Deployed policy."""


C = TypeVar("C", bound=ScoredOptions)
C_contra = TypeVar("C_contra", bound=ScoredOptions, contravariant=True)


class Learner(Protocol[C_contra]):
    """Learner of the loop. It stores no options: they may differ in a continuation."""

    kept: Kept

    @property
    def steps(self) -> int:
        """Environment steps so far, summed over all environments."""

    @property
    def deploy(self) -> Callable[[], Policy]:
        """Returns the policy of this moment, which maps raw observations to robot units."""

    def finished(self, options: C_contra) -> bool:
        """Return whether the training is at its end."""

    def iterate(self, options: C_contra, until: int, interrupts: Interrupts) -> dict[str, float]:
        """Collect and update once, and return figures for the curves.

        Args:
            options: of the run.
            until: step of the next score; a long iteration ends there.
            interrupts: a long iteration ends when asked to stop.
        """

    def save(self, folder: Path, *, finished: bool) -> None:
        """Write the checkpoint."""

    def resume(self, options: C_contra) -> None:
        """Restore the checkpoint of the run folder, if there is one."""


def train(options: C, learner: Learner[C], task: Task, console: Console) -> None:
    """Take the missing steps; write the checkpoint after every score and at the end.

    Raises:
        KeyboardInterrupt: interrupted; the checkpoint is written.
        ContractError: a number of the simulation is not finite; the last checkpoint is from before.
        UsageError: a figure is not finite any more; the last checkpoint is from before.
    """
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with (
        learning_curve.writer(options.out, learner.steps) as curves,
        Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress,
        Interrupts() as interrupts,
        closing(Rollouts(task)) as rollouts,
    ):
        scorer = Scorer(options.score_episodes, options.keep, rollouts, learner.kept, curves, console)
        bar = progress.add_task(task.name, total=options.steps, completed=learner.steps)
        due = (learner.steps // options.score_every + 1) * options.score_every
        while not learner.finished(options):
            for name, figure in learner.iterate(options, due, interrupts).items():
                curves.add_scalar(name, figure, learner.steps)
            progress.update(bar, completed=learner.steps)
            finished = learner.finished(options)
            scores = learner.steps >= due or finished
            if scores:
                scorer.score(learner.deploy(), learner.steps)
            due += options.score_every * scores
            stop = interrupts.asked  # read once: it may come at any moment
            if scores or stop:
                learner.save(options.out, finished=finished)
            if stop:
                break


@dataclass(frozen=True)
class ScoredTraining(Generic[C]):
    """The training of a run by this loop; a `runs.train_run.Training`."""

    options: C
    learner: Learner[C]
    task: Task
    before: Callable[[Console], None] | None = None
    """Called once, before the first step."""

    @property
    def step(self) -> int:
        """Environment steps so far."""
        return self.learner.steps

    def finished(self) -> bool:
        """Return whether steps, or minutes, are used up."""
        return self.learner.finished(self.options)

    def resume(self) -> None:
        """Restore the checkpoint of the run folder, if there is one."""
        self.learner.resume(self.options)

    def train(self, console: Console) -> None:
        """Take the missing steps."""
        if self.before is not None and self.learner.steps == 0:
            self.before(console)
        train(self.options, self.learner, self.task, console)
