"""The run around a PPO learner: rollouts and updates in turn, curves, scores, checkpoints, and a clean way out.

Weights, optimizer, normalisers, random numbers and the count of steps are saved between iterations; simulations
are not, so a run that is continued begins new episodes, under seeds that it has not used.
"""

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import nn
from torch.optim import Optimizer

from odeploy_runtime.errors import FormatError, UsageError
from odeploy_sim.tasks.task import Task
from odeploy_train.on_policy.ppo import Ppo, PpoConfig
from odeploy_train.on_policy.rollout import Rollout, require_finite
from odeploy_train.policies.kinds import Policy
from odeploy_train.runs import checkpoint, learning_curve
from odeploy_train.runs.best_policy import Kept, require_scores
from odeploy_train.runs.device import Device, chosen, require_compiler
from odeploy_train.runs.divergence import require_finite_figures
from odeploy_train.runs.folder import Options
from odeploy_train.runs.interrupts import Interrupts
from odeploy_train.runs.rollouts import Rollouts
from odeploy_train.runs.scoring import ScoreOptions, Scorer


class OnPolicyOptions(Options, ScoreOptions, Protocol):
    """What the config of every on-policy verb has."""


class CoreOptions(Protocol):
    """Options of verbs whose updates need nothing but the core, so that a GPU or a compiler may take them."""

    @property
    def device(self) -> Device:
        """Of torch, where minibatches are learnt from."""

    @property
    def kl_limit(self) -> float:
        """KL of a pass over a rollout after which there is no other."""

    @property
    def compile(self) -> bool:
        """Whether `torch.compile` makes the loss."""


def require_core(options: CoreOptions) -> None:
    """Refuses what the core cannot do, before a run has a folder.

    Raises:
        MissingError: a device or a compiler that is not there.
        UsageError: a limit that makes no sense.
    """
    chosen(options.device)
    if options.compile:
        require_compiler()
    if not options.kl_limit > 0:
        raise UsageError(
            where="--kl-limit", expected="a number above 0", got=f"{options.kl_limit:g}", remedy="change it"
        )


def ppo_config(options: CoreOptions) -> PpoConfig:
    """What the core takes of a verb's options, by name."""
    named = {name: getattr(options, name) for name in PpoConfig.__dataclass_fields__ if hasattr(options, name)}
    return PpoConfig(**named | {"device": chosen(options.device)})


@dataclass
class Learner:
    """A PPO learner with the policy that it deploys.

    Attributes:
        ppo: rollouts and updates.
        deploy: the deterministic policy of this moment.
        more: other modules whose weights belong to the training, such as a reward's.
        before_update: what a method learns from a rollout before the policy does; gives figures for the curves.
        optimizers: of those other modules, by any name.
        kept: a policy that is deployed instead, if there is one.
    """

    ppo: Ppo
    deploy: Callable[[], Policy]
    more: nn.ModuleDict
    before_update: Callable[[Rollout], dict[str, float]] | None = None
    optimizers: dict[str, Optimizer] = field(default_factory=dict)
    kept: Kept = field(default_factory=Kept)

    def state(self) -> dict[str, Any]:
        """For the checkpoint."""
        p = self.ppo
        return {
            "step": p.steps,
            "policy": self.kept.policy or self.deploy().state_dict(),
            "kept": self.kept.state(),
            "modules": {name: module.state_dict() for name, module in self._modules().items()},
            "optimizer": p.optimizer.state_dict(),
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()},
            "generator": p.generator.get_state(),
        }

    def resume(self, options: Options) -> None:
        """Takes up the checkpoint, if there is one.

        Raises:
            FormatError: it does not fit.
        """
        saved = checkpoint.load(options.out)
        if saved is None:
            return
        try:
            for name, module in self._modules().items():
                module.load_state_dict(saved["modules"][name])
            self.ppo.optimizer.load_state_dict(saved["optimizer"])
            for name, optimizer in self.optimizers.items():
                optimizer.load_state_dict(saved["optimizers"][name])
            self.ppo.generator.set_state(saved["generator"])
            self.ppo.steps = saved["step"]
            self.kept.resume(saved["kept"])
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise FormatError(
                where=str(options.out / checkpoint.CHECKPOINT),
                expected="the checkpoint of this training",
                got=f"another one ({type(error).__name__})",
                remedy="remove the folder and train again",
            ) from None
        self.ppo.envs.reset(seed=(options.seed + 1) * 2**32 + self.ppo.steps)

    def _modules(self) -> dict[str, nn.Module]:
        p = self.ppo
        assert isinstance(p.actor, nn.Module)
        own = {"actor": p.actor, "critic": p.critic, "moments": p.moments, "return_scale": p.return_scale}
        return own | {name: self.more[name] for name in self.more}


def train(options: OnPolicyOptions, learner: Learner, task: Task, console: Console) -> None:
    """Takes the steps that are still missing; the checkpoint is written after every score and at the end.

    Raises:
        KeyboardInterrupt: asked to stop; the checkpoint has been written.
        UsageError: the best is to be kept of policies that are not scored; or a figure is not finite any more, and
            the last checkpoint is from before.
    """
    require_scores(options.keep, options.score_episodes)
    ppo = learner.ppo
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with (
        learning_curve.writer(options.out, ppo.steps) as curves,
        Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress,
        Interrupts() as interrupts,
        closing(Rollouts(task)) as rollouts,
    ):
        scorer = Scorer(options, rollouts, learner.kept, curves, console)
        bar = progress.add_task(task.name, total=options.steps, completed=ppo.steps)
        due = (ppo.steps // options.score_every + 1) * options.score_every
        while ppo.steps < options.steps:
            figures = _iterate(learner, options)
            for name, figure in figures.items():
                curves.add_scalar(name, figure, ppo.steps)
            progress.update(bar, completed=ppo.steps)
            scores = ppo.steps >= min(due, options.steps)
            if scores:
                scorer.score(learner.deploy(), ppo.steps)
            due += options.score_every * scores
            stop = interrupts.asked  # read once: it may come at any moment
            if scores or stop:
                checkpoint.save(options.out, learner.state())
            if stop:
                break


def _iterate(learner: Learner, options: Options) -> dict[str, float]:
    ppo, begun = learner.ppo, time.monotonic()
    progress = ppo.steps / options.steps  # from before the rollout: the last one would learn nothing otherwise
    rollout = ppo.collect()
    collected = time.monotonic()
    require_finite(rollout, ppo.steps)
    figures = learner.before_update(rollout) if learner.before_update is not None else {}
    rows = ppo.rows(rollout)
    figures |= {f"update/{name}": value for name, value in ppo.update(rows, progress).items()}
    ppo.learn_scale(rollout.raw.flatten(0, 1))
    done = time.monotonic()
    if len(rollout.returns):
        figures["rollout/return"] = float(rollout.returns.mean())
        figures["rollout/success"] = float(rollout.successes.mean())
    require_finite_figures(figures, options.lr, ppo.steps)
    figures["wall/collect_s"], figures["wall/update_s"] = collected - begun, done - collected
    figures["wall/steps_per_s"] = len(rows) / (done - begun)
    return figures
