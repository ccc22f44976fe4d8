"""The run of an off-policy learner: options, one iteration, the checkpoint.

`runs.scored_loop` has the loop around it.

The replay buffer is saved with each checkpoint, just before it: a continued run with an empty one would for a
long time see nothing but its own latest episodes. A kill between the two leaves a buffer that is a checkpoint
ahead; it only holds some transitions more. A finished run drops the buffer.
"""

import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from odeploy_runtime.errors import ContractError, FormatError, UsageError
from odeploy_sim.tasks import seeds
from odeploy_sim.tasks.task import Task
from odeploy_sim.tasks.vector import make_vector
from odeploy_sim.tasks.vector_env import TaskVectorEnv
from odeploy_train.off_policy.core import OffPolicy, OffPolicyConfig
from odeploy_train.off_policy.replay import REPLAY
from odeploy_train.policies.kinds import Policy, PolicyConfig
from odeploy_train.runs import checkpoint
from odeploy_train.runs.best_policy import Kept
from odeploy_train.runs.divergence import require_finite_figures
from odeploy_train.runs.folder import Method, Options
from odeploy_train.runs.interrupts import Interrupts
from odeploy_train.runs.options import (
    RunOptions,
    ScoreOptions,
    SimulationOptions,
    require_positive,
    require_scores,
)
from odeploy_train.runs.scored_loop import ScoredTraining
from odeploy_train.runs.train_run import train_run

_FIGURES_STEPS = 1_000  # environment steps over which curves are averaged


@dataclass(frozen=True)
class EnvironmentOptions(RunOptions):
    """Length of the run, and its environments."""

    minutes: float = math.inf
    """Time of collecting and updating [min] after which the run ends early, to compare methods at equal cost."""
    envs: int = 8
    """Environments stepped together."""


@dataclass(frozen=True)
class ComputeOptions(SimulationOptions):
    """What simulates and what learns."""

    threads: int = 1
    """Threads of torch."""


@dataclass(frozen=True)
class Config(ScoreOptions, ComputeOptions, OffPolicyConfig, EnvironmentOptions):
    """Options of every off-policy verb."""

    score_every: int = 20_000
    """Environment steps between two scores of the deployed policy, and between checkpoints."""


@dataclass
class Learner:
    """Off-policy learner with the policy that it deploys.

    Attributes:
        core: ticks and updates.
        deploy: returns the policy of this moment, from raw observations to robot units.
        spent_s: time of collecting and updating so far [s].
        kept: the best policy so far, which is deployed instead.
    """

    core: OffPolicy
    deploy: Callable[[], Policy]
    spent_s: float = 0.0
    kept: Kept = field(default_factory=Kept)

    @property
    def steps(self) -> int:
        """Environment steps so far, summed over all environments."""
        return self.core.steps

    def finished(self, options: Config) -> bool:
        """Return whether steps or minutes are used up."""
        return self.core.steps >= options.steps or self.spent_s >= 60 * options.minutes

    def iterate(self, options: Config, until: int, interrupts: Interrupts) -> dict[str, float]:
        """Tick and update until a step, an interrupt or the end; return figures."""
        core = self.core
        until = min(core.steps + _FIGURES_STEPS, until, options.steps)
        totals: dict[str, Tensor] = defaultdict(lambda: torch.zeros(()))
        counts: dict[str, int] = defaultdict(int)  # the actor may be updated less often than the critics
        spent_s, began = np.zeros(2), core.steps
        ended = []
        while core.steps < until and not interrupts.asked and not self.finished(options):
            begun = time.monotonic()
            ended.append(core.tick())
            ticked = time.monotonic()
            while core.owed >= 1:
                for name, figure in core.update().items():
                    totals[name] += figure
                    counts[name] += 1
            spent_s += ticked - begun, time.monotonic() - ticked
            self.spent_s += time.monotonic() - begun
        figures = {f"update/{name}": float(total) / counts[name] for name, total in totals.items()}
        returns, successes = (np.concatenate(parts) for parts in zip(*ended, strict=True)) if ended else ((), ())
        if len(returns):
            figures |= {"rollout/return": float(np.mean(returns)), "rollout/success": float(np.mean(successes))}
        require_finite_figures(figures, options.lr, core.steps)
        figures["wall/collect_s"], figures["wall/update_s"] = spent_s.tolist()
        figures["wall/steps_per_s"] = (core.steps - began) / max(spent_s.sum(), 1e-9)
        return figures

    def save(self, folder: Path, *, finished: bool) -> None:
        """Write the replay buffer, then the checkpoint; a finished run has no buffer."""
        core = self.core
        if not finished:
            core.replay.save(folder)
        state = {
            "step": core.steps,
            "updates": core.updates,
            "spent_s": self.spent_s,
            "finished": finished,
            **self.kept.checkpoint(self.deploy),
            "modules": {name: module.state_dict() for name, module in self._modules().items()},
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self._optimizers().items()},
            "generator": core.generator.get_state(),
        }
        checkpoint.save(folder, state)
        if finished:
            (folder / REPLAY).unlink(missing_ok=True)

    def resume(self, options: Options) -> None:
        """Restore checkpoint and replay buffer of the run folder, if there are any.

        Raises:
            FormatError: one of them does not fit.
        """
        folder = options.out
        saved, core = checkpoint.load(folder), self.core
        if saved is None:
            return
        try:
            for name, module in self._modules().items():
                module.load_state_dict(saved["modules"][name])
            for name, optimizer in self._optimizers().items():
                optimizer.load_state_dict(saved["optimizers"][name])
            core.generator.set_state(saved["generator"])
            core.steps, core.updates, self.spent_s = saved["step"], saved["updates"], saved["spent_s"]
            self.kept.resume(saved["kept"])
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise FormatError(
                where=str(folder / checkpoint.CHECKPOINT),
                expected="the checkpoint of this training",
                got=f"another one ({type(error).__name__})",
                remedy="remove the folder and train again",
            ) from None
        core.replay.load(folder)
        core.envs.reset(seed=seeds.training(options.seed, core.steps))

    def _modules(self) -> dict[str, nn.Module]:
        c = self.core
        return {"actor": c.actor, "critics": c.critics, "targets": c.targets, "moments": c.moments}

    def _optimizers(self) -> dict[str, Optimizer]:
        return {"critics": self.core.optimizer, **self.core.actor.optimizers}


Start = Callable[[OffPolicyConfig, TaskVectorEnv], Learner]


def run(method: Method, config: Config, task: Task, sizes: PolicyConfig, start: Start) -> None:
    """Train, or continue, and print the run folder.

    Args:
        method: name of the verb.
        config: its options.
        task: the task that they name.
        sizes: sizes of the deployed policy.
        start: (options of the core, environments) -> a learner at step 0.

    Raises:
        UsageError: an option that makes no sense.
        ContractError: an action without limits.
    """
    _check(config, task)
    shared = {name: getattr(config, name) for name in OffPolicyConfig.__dataclass_fields__}
    shared["capacity"] = min(config.capacity, config.steps + config.envs)

    @contextmanager
    def training() -> Iterator[ScoredTraining[Config]]:
        vector = make_vector(
            task, config.envs, seeds.training(config.seed), workers=config.workers, backend=config.backend
        )
        with closing(vector) as envs:
            yield ScoredTraining(config, start(OffPolicyConfig(**shared), envs), task)

    train_run(method, config, task, sizes, training)


def _check(config: Config, task: Task) -> None:
    require_positive(
        steps=config.steps, envs=config.envs, batch=config.batch, updates_per_step=config.updates_per_step,
        start_steps=config.start_steps, capacity=config.capacity, lr=config.lr, returns=config.returns,
        target_rate=config.target_rate, actor_every=config.actor_every, hold=config.hold, threads=config.threads,
        score_every=config.score_every,
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
            remedy="change one of them: the policy would never be updated",
        )
    if config.capacity < max(config.start_steps, config.envs):
        raise UsageError(
            where="--capacity",
            expected=f"at least --start-steps {config.start_steps}, and a transition per environment",
            got=str(config.capacity),
            remedy="change one of them",
        )
    for signal in task.action:
        if signal.low is None or signal.high is None:
            raise ContractError(
                where=f"task {task.name}, action {signal.name}",
                expected="a lower and an upper limit, to which tanh is mapped",
                got=f"[{signal.low}, {signal.high}]",
                remedy="give the signal its limits in the catalogue",
            )
