"""The run around an off-policy learner: what `odeploy train fmer | sac | qvpo | dipo | dpmd` have in common.

Curves, scores, checkpoints and the way out are those of `on_policy.run`, under the same names. The replay is
saved with each checkpoint, just before it: a continued run that had to fill a new one would for a long time see
nothing but its own latest episodes. A replay that is a checkpoint ahead, as after a kill between the two, only
holds some transitions more. A finished run drops it. Simulations are not saved: a continued run begins new
episodes, under seeds that it has not used.
"""

import math
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn
from torch.optim import Optimizer

from odeploy_runtime.errors import ContractError, FormatError, UsageError
from odeploy_sim.tasks.task import Task
from odeploy_sim.tasks.vector import make_vector
from odeploy_sim.tasks.vector_env import TaskVectorEnv
from odeploy_train.off_policy.core import OffPolicy, OffPolicyConfig
from odeploy_train.off_policy.replay import REPLAY
from odeploy_train.policies.kinds import Policy, PolicyConfig
from odeploy_train.runs import checkpoint, learning_curve
from odeploy_train.runs.best_policy import Keep, Kept, require_scores
from odeploy_train.runs.divergence import require_finite_figures
from odeploy_train.runs.folder import Method, begin, new_card
from odeploy_train.runs.interrupts import Interrupts
from odeploy_train.runs.options import require_positive
from odeploy_train.runs.rollouts import Rollouts
from odeploy_train.runs.scoring import Scorer

_FIGURES_STEPS = 1_000  # of the environments, over which curves are averaged


@dataclass(frozen=True)
class Config:
    """What all off-policy verbs can be told."""

    task: str
    """Name of a catalogued task."""
    out: Path
    """Folder of the run: new, or that of an interrupted one."""
    steps: int = 1_000_000
    """Of the environments, together."""
    minutes: float = math.inf
    """Of collecting and updating, after which a run ends with fewer steps: for methods at equal cost."""
    envs: int = 8
    """Simulations stepped as one."""
    batch: int = 256
    """Transitions of an update."""
    updates_per_step: float = 1.0
    """Updates for each step of the environments."""
    start_steps: int = 5_000
    """Steps of random actions at the start, from which nothing is learnt yet."""
    actor_start_steps: int = 0
    """Steps before which the critics learn alone: to the first guesses of theirs a policy would commit itself."""
    capacity: int = 1_000_000
    """Transitions that the replay holds."""
    lr: float = 3e-4
    """Learning rate of the critics, constant; SAC takes it for its policy too."""
    discount: float = 0.99
    """γ."""
    target_rate: float = 0.005
    """How far the target critics move to the critics with each update."""
    critic_widths: tuple[int, ...] = (256, 256)
    """Hidden layers of each critic, ReLU."""
    seed: int = 0
    """Of every random number."""
    workers: int | None = None
    """Processes that step the environments; one a core if not given."""
    threads: int = 1
    """Of torch."""
    score_every: int = 20_000
    """Environment steps between two scores of the deployed policy, and between checkpoints."""
    score_episodes: int = 10
    """Of a score; 0 for none."""
    keep: Keep = "last"
    """Which policy is deployed: the last, or the best of those scored."""


@dataclass
class Learner:
    """An off-policy learner with the policy that it deploys.

    Attributes:
        core: ticks and updates.
        deploy: the policy of this moment; called with raw observations it answers in robot units.
        spent_s: on collecting and updating so far.
        kept: a policy that is deployed instead, if there is one.
    """

    core: OffPolicy
    deploy: Callable[[], Policy]
    spent_s: float = 0.0
    kept: Kept = field(default_factory=Kept)

    def finished(self, config: Config) -> bool:
        """Whether steps or minutes are used up."""
        return self.core.steps >= config.steps or self.spent_s >= 60 * config.minutes

    def save(self, folder: Path, *, finished: bool) -> None:
        """Writes the replay, then the checkpoint; of a finished run the checkpoint alone."""
        core = self.core
        if not finished:
            core.replay.save(folder)
        state = {
            "step": core.steps,
            "spent_s": self.spent_s,
            "finished": finished,
            "policy": self.kept.policy or self.deploy().state_dict(),
            "kept": self.kept.state(),
            "modules": {name: module.state_dict() for name, module in self._modules().items()},
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self._optimizers().items()},
            "generator": core.generator.get_state(),
        }
        checkpoint.save(folder, state)
        if finished:
            (folder / REPLAY).unlink(missing_ok=True)

    def resume(self, folder: Path, seed: int) -> None:
        """Takes up checkpoint and replay, if there are any.

        Args:
            folder: of the run.
            seed: of the run, from which new episodes get theirs.

        Raises:
            FormatError: one of them does not fit.
        """
        saved, core = checkpoint.load(folder), self.core
        if saved is None:
            return
        try:
            for name, module in self._modules().items():
                module.load_state_dict(saved["modules"][name])
            for name, optimizer in self._optimizers().items():
                optimizer.load_state_dict(saved["optimizers"][name])
            core.generator.set_state(saved["generator"])
            core.steps, self.spent_s = saved["step"], saved["spent_s"]
            self.kept.resume(saved["kept"])
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise FormatError(
                where=str(folder / checkpoint.CHECKPOINT),
                expected="the checkpoint of this training",
                got=f"another one ({type(error).__name__})",
                remedy="remove the folder and train again",
            ) from None
        core.replay.load(folder)
        core.envs.reset(seed=(seed + 1) * 2**32 + core.steps)

    def _modules(self) -> dict[str, nn.Module]:
        c = self.core
        return {"actor": c.actor, "critics": c.critics, "targets": c.targets, "moments": c.moments}

    def _optimizers(self) -> dict[str, Optimizer]:
        return {"critics": self.core.optimizer, **self.core.actor.optimizers}


Start = Callable[[OffPolicyConfig, TaskVectorEnv], Learner]


def run(method: Method, config: Config, task: Task, sizes: PolicyConfig, start: Start) -> None:
    """Trains, or continues, and says where the run is.

    Args:
        method: the verb.
        config: its options.
        task: that they name.
        sizes: of the policy that is deployed.
        start: (the core's options, environments) -> a learner that has seen nothing yet.

    Raises:
        UsageError: an option without sense.
        ContractError: an action without limits.
    """
    console = Console()
    _check(config, task)
    torch.set_num_threads(config.threads)
    begin(config.out, new_card(method, task.name, None, config, sizes))
    shared = {name: getattr(config, name) for name in OffPolicyConfig.__dataclass_fields__}
    shared["capacity"] = min(config.capacity, config.steps + config.envs)
    with closing(make_vector(task, config.envs, config.seed, workers=config.workers)) as envs:
        learner = start(OffPolicyConfig(**shared), envs)
        learner.resume(config.out, config.seed)
        if learner.finished(config):
            console.print(f"finished already, at step {learner.core.steps}")
        else:
            train(config, learner, task, console)
    console.print(f"run: {config.out}", soft_wrap=True)


def train(config: Config, learner: Learner, task: Task, console: Console) -> None:
    """Takes the steps that are still missing; all is saved after every score and at the end.

    Raises:
        KeyboardInterrupt: asked to stop; the checkpoint has been written.
        ContractError: the simulation gave a number that is not finite; the last checkpoint is from before.
        UsageError: a figure is not finite any more; likewise.
    """
    core = learner.core
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with (
        learning_curve.writer(config.out, core.steps) as curves,
        Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress,
        Interrupts() as interrupts,
        closing(Rollouts(task)) as rollouts,
    ):
        scorer = Scorer(config, rollouts, learner.kept, curves, console)
        bar = progress.add_task(task.name, total=config.steps, completed=core.steps)
        due = (core.steps // config.score_every + 1) * config.score_every
        while not learner.finished(config):
            until = min(core.steps + _FIGURES_STEPS, due, config.steps)
            for name, figure in _iterate(learner, until, config, interrupts).items():
                curves.add_scalar(name, figure, core.steps)
            progress.update(bar, completed=core.steps)
            finished = learner.finished(config)
            scores = core.steps >= due or finished
            if scores:
                scorer.score(learner.deploy(), core.steps)
            due += config.score_every * scores
            stop = interrupts.asked  # read once: it may come at any moment
            if scores or stop:
                learner.save(config.out, finished=finished)
            if stop:
                break


def _iterate(learner: Learner, until: int, config: Config, interrupts: Interrupts) -> dict[str, float]:
    """Ticks and the updates that they earn, until a step, an interrupt or the end; what curves show of them."""
    core = learner.core
    totals: dict[str, Tensor] = defaultdict(lambda: torch.zeros(()))
    updates, spent_s, began = 0, np.zeros(2), core.steps
    ended = []
    while core.steps < until and not interrupts.asked and not learner.finished(config):
        begun = time.monotonic()
        ended.append(core.tick())
        ticked = time.monotonic()
        while core.owed >= 1:
            for name, figure in core.update().items():
                totals[name] += figure
            updates += 1
        spent_s += ticked - begun, time.monotonic() - ticked
        learner.spent_s += time.monotonic() - begun
    figures = {f"update/{name}": float(total) / updates for name, total in totals.items()}
    returns, successes = (np.concatenate(parts) for parts in zip(*ended, strict=True)) if ended else ((), ())
    if len(returns):
        figures |= {"rollout/return": float(np.mean(returns)), "rollout/success": float(np.mean(successes))}
    require_finite_figures(figures, config.lr, core.steps)
    figures["wall/collect_s"], figures["wall/update_s"] = spent_s.tolist()
    figures["wall/steps_per_s"] = (core.steps - began) / max(spent_s.sum(), 1e-9)
    return figures


def _check(config: Config, task: Task) -> None:
    require_positive(
        steps=config.steps, envs=config.envs, batch=config.batch, updates_per_step=config.updates_per_step,
        start_steps=config.start_steps, capacity=config.capacity, lr=config.lr, target_rate=config.target_rate,
        threads=config.threads, score_every=config.score_every,
    )  # fmt: skip
    require_scores(config.keep, config.score_episodes)
    if not config.minutes > 0:
        raise UsageError(
            where="--minutes", expected="a number above 0", got=f"{config.minutes:g}", remedy="change it"
        )
    if config.actor_start_steps >= config.steps:
        raise UsageError(
            where="--actor-start-steps",
            expected=f"fewer than --steps {config.steps}",
            got=str(config.actor_start_steps),
            remedy="change one of them: the policy would learn nothing",
        )
    if config.capacity < max(config.start_steps, config.envs):
        raise UsageError(
            where="--capacity",
            expected=f"at least --start-steps {config.start_steps}, and a place for each environment",
            got=str(config.capacity),
            remedy="change one of them",
        )
    for signal in task.action:
        if signal.low is None or signal.high is None:
            raise ContractError(
                where=f"task {task.name}, action {signal.name}",
                expected="a lower and an upper limit, which tanh is mapped onto",
                got=f"[{signal.low}, {signal.high}]",
                remedy="give the signal its limits in the catalogue",
            )
