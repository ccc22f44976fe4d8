"""The run of a PPO learner: options, one iteration, the checkpoint.

`runs.scored_loop` has the loop around it."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from torch import nn
from torch.optim import Optimizer

from odeploy_runtime.errors import FormatError, UsageError
from odeploy_sim.tasks import seeds
from odeploy_sim.tasks.task import Task
from odeploy_sim.tasks.vector import make_vector
from odeploy_sim.tasks.vector_env import TaskVectorEnv
from odeploy_train.on_policy.options import PpoConfig, PpoOptions
from odeploy_train.on_policy.ppo import Ppo
from odeploy_train.on_policy.rollout import Rollout, require_finite
from odeploy_train.policies.kinds import Policy, PolicyConfig
from odeploy_train.runs import checkpoint
from odeploy_train.runs.best_policy import Kept
from odeploy_train.runs.device import Device, chosen, require_compiler
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


@dataclass(frozen=True)
class EnvironmentOptions(RunOptions):
    """Environments of a rollout."""

    envs: int = 8
    """Environments stepped together."""


@dataclass(frozen=True)
class ComputeOptions(SimulationOptions):
    """What simulates and what learns."""

    threads: int = 1
    """Threads of torch."""
    device: Device = "auto"
    """Torch device of the minibatches: a GPU if there is one. Rollouts are collected on the CPU."""
    compile: bool = False
    """Compile the loss with `torch.compile`; costs most of a minute, pays in long runs of small minibatches."""


@dataclass(frozen=True)
class OnPolicyConfig(ScoreOptions, ComputeOptions, PpoOptions, EnvironmentOptions):
    """Options of every on-policy verb.

    A policy's own options extend `PpoOptions` and `EnvironmentOptions`, so that they come before those of
    `ComputeOptions`: `class Config(OnPolicyConfig, GaussianOptions)`.
    """


def check(config: OnPolicyConfig) -> None:
    """Refuse what the core cannot do, before the run has a folder.

    Raises:
        MissingError: a device or a compiler that is not there.
        UsageError: an option that makes no sense.
    """
    require_positive(
        steps=config.steps, envs=config.envs, ticks=config.ticks, epochs=config.epochs, batch=config.batch,
        lr=config.lr, threads=config.threads, score_every=config.score_every,
    )  # fmt: skip
    require_scores(config.keep, config.score_episodes)
    chosen(config.device)
    if config.compile:
        require_compiler()
    if not config.kl_limit > 0:
        raise UsageError(
            where="--kl-limit", expected="a number above 0", got=f"{config.kl_limit:g}", remedy="change it"
        )


def ppo_config(config: OnPolicyConfig) -> PpoConfig:
    """Return the options that the core takes, by name."""
    named = {name: getattr(config, name) for name in PpoConfig.__dataclass_fields__ if hasattr(config, name)}
    return PpoConfig(**named | {"device": chosen(config.device)})


@dataclass
class Learner:
    """A PPO learner with the policy that it deploys.

    Attributes:
        ppo: rollouts and updates.
        deploy: returns the deterministic policy of this moment.
        more: other modules whose weights belong to the training, such as a reward's.
        before_update: what a method learns from a rollout before the policy does; returns figures for the curves.
        optimizers: optimizers of the other modules, by any name.
        kept: the best policy so far, which is deployed instead.
        pretrain: called once, before the first rollout.
    """

    ppo: Ppo
    deploy: Callable[[], Policy]
    more: nn.ModuleDict
    before_update: Callable[[Rollout], dict[str, float]] | None = None
    optimizers: dict[str, Optimizer] = field(default_factory=dict)
    kept: Kept = field(default_factory=Kept)
    pretrain: Callable[[Console], None] | None = None

    @property
    def steps(self) -> int:
        """Environment steps so far, summed over all environments."""
        return self.ppo.steps

    def finished(self, options: Options) -> bool:
        """Return whether no step is missing."""
        return self.ppo.steps >= options.steps

    def iterate(self, options: Options, _until: int, _interrupts: Interrupts) -> dict[str, float]:
        """Collect one rollout and update on it; return figures for the curves.

        While the observations' normaliser is empty, the rollout only fills it: an update in raw units would leave
        weights and the optimizer's moments in a scale that the next one no longer has.
        """
        ppo, begun = self.ppo, time.monotonic()
        progress = ppo.steps / options.steps  # from before the rollout: the last one would learn nothing otherwise
        rollout = ppo.collect()
        collected = time.monotonic()
        require_finite(rollout, ppo.steps)
        figures = self._learn(rollout, progress) if ppo.moments.count > 0 else {}
        ppo.learn_scale(rollout.raw.flatten(0, 1))
        done = time.monotonic()
        if len(rollout.returns):
            figures["rollout/return"] = float(rollout.returns.mean())
            figures["rollout/success"] = float(rollout.successes.mean())
        require_finite_figures(figures, options.lr, ppo.steps)
        figures["wall/collect_s"], figures["wall/update_s"] = collected - begun, done - collected
        figures["wall/steps_per_s"] = rollout.reward.numel() / (done - begun)
        return figures

    def _learn(self, rollout: Rollout, progress: float) -> dict[str, float]:
        figures = self.before_update(rollout) if self.before_update is not None else {}
        updated = self.ppo.update(self.ppo.rows(rollout), progress)
        return figures | {f"update/{name}": value for name, value in updated.items()}

    def save(self, folder: Path, *, finished: bool) -> None:  # noqa: ARG002 - a loop's learners share the call
        """Write the checkpoint."""
        checkpoint.save(folder, self.state())

    def state(self) -> dict[str, Any]:
        """Return what the checkpoint stores."""
        p = self.ppo
        return {
            "step": p.steps,
            **self.kept.checkpoint(self.deploy),
            "modules": {name: module.state_dict() for name, module in self._modules().items()},
            "optimizer": p.optimizer.state_dict(),
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()},
            "generator": p.generator.get_state(),
        }

    def resume(self, options: Options) -> None:
        """Restore the checkpoint of the run folder, if there is one.

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
        self.ppo.envs.reset(seed=seeds.training(options.seed, self.ppo.steps))

    def _modules(self) -> dict[str, nn.Module]:
        p = self.ppo
        assert isinstance(p.actor, nn.Module)
        own = {"actor": p.actor, "critic": p.critic, "moments": p.moments, "return_scale": p.return_scale}
        return own | {name: self.more[name] for name in self.more}


def run(
    method: Method,
    config: OnPolicyConfig,
    task: Task,
    sizes: PolicyConfig,
    start: Callable[[TaskVectorEnv], Learner],
    *,
    data_hash: str | None = None,
    teacher: dict[str, Any] | None = None,
) -> None:
    """Train, or continue, and print the run folder.

    Args:
        method: name of the verb.
        config: options of the verb, already checked.
        task: the task that the options name.
        sizes: sizes of the deployed policy.
        start: makes the learner at step 0, given the environments.
        data_hash: hash of the demonstrations, if there are any.
        teacher: provenance of the policy that the training starts from.
    """

    @contextmanager
    def training() -> Iterator[ScoredTraining[OnPolicyConfig]]:
        vector = make_vector(
            task, config.envs, seeds.training(config.seed), workers=config.workers, backend=config.backend
        )
        with closing(vector) as envs:
            learner = start(envs)
            yield ScoredTraining(config, learner, task, learner.pretrain)

    train_run(method, config, task, sizes, training, data_hash=data_hash, teacher=teacher)
