"""`odeploy train fmer`: a flow policy with twin critics, trained by FMER.

The deployed policy is the best of N samples, N chosen at `odeploy export`; scores use `--scored-choices`. A file
with one candidate returns the flow's raw samples.
"""

from dataclasses import dataclass
from functools import partial

import torch
import tyro
from torch import Tensor

from odeploy_runtime.errors import UsageError
from odeploy_runtime.signals import highs, lows
from odeploy_sim.own_tasks.reference import resolve
from odeploy_sim.tasks.task import Task
from odeploy_sim.tasks.vector_env import TaskVectorEnv
from odeploy_train.modules.networks import initialise
from odeploy_train.modules.ode import EULER, uniform_grid
from odeploy_train.modules.running_moments import OBSERVATION_CLIP, STD_FLOOR
from odeploy_train.off_policy import run as off_policy_run
from odeploy_train.off_policy.core import OffPolicy, OffPolicyConfig
from odeploy_train.off_policy.critics import TwinCritics
from odeploy_train.off_policy.fmer import FmerActor, Improvement
from odeploy_train.off_policy.run import Learner, run
from odeploy_train.policies.best_of_n import BestOfN, BestOfNConfig
from odeploy_train.policies.flow import FlowConfig, velocity_net
from odeploy_train.runs.options import require_from_zero, require_positive


@dataclass(frozen=True)
class Config(off_policy_run.Config):
    """Train a flow policy by FMER. The same command continues an interrupted run."""

    batch: int = 128
    """Transitions per update; the flow is regressed on M candidates for each."""
    candidates: int = 8
    """Candidates M: actions of the flow per state, on which it is regressed."""
    choices: int = 8
    """Choices N: samples of which the one with the highest Q is tried in the environment."""
    scored_choices: int = 8
    """Samples of which the one with the highest Q is scored; `odeploy export` chooses its own number."""
    solver_steps: int = 10
    """Euler steps K; `odeploy export` chooses its own."""
    effective_share: float = 0.5
    """Effective sample size of the candidates' weights, as a share ρ of all candidates."""
    per_state: bool = True
    """Whether a candidate's advantage counts in units of its state's spread."""
    perturbations: int = 1
    """Candidates P of each sample: itself, and copies with noise, which cost no solver steps."""
    spread: float = 0.2
    """Standard deviation of this noise, before the tanh."""
    resample: int = 0
    """Candidates per state that are drawn by weight for the regression; 0 for all of them, weighted."""
    renew_every: int = 1
    """Updates of the velocity between two renewals of the copy that proposes candidates."""
    slow_rate: float = 1.0
    """How far this copy moves towards the velocity at a renewal; 1 every update is the velocity itself."""
    target_choices: int = 1
    """Samples of which the best gives the critics' target."""
    uniform: int = 0
    """Further candidates, drawn uniformly from all actions: they preserve equally good modes."""
    entropy_draws: int = 2
    """Candidates per state on whose paths the entropy is estimated."""
    target_entropy: float = -1.0
    """Target entropy of the squashed action per dimension [nat]; the maximum is log 2 = 0.693."""
    alpha: float = 0.1
    """Multiplier of the entropy at the start; 0 disables the entropy. A higher one explores longer at first."""
    alpha_lr: float | None = None
    """Learning rate of the logarithm of the multiplier; default: `--lr`."""
    actor_lr: float = 3e-4
    """Learning rate of the velocity; `--lr` is the critics'."""
    width: int = 256
    """Neurons per hidden layer of the velocity."""
    depth: int = 2
    """Hidden layers of the velocity, SiLU."""


def main(arguments: list[str]) -> None:
    """Train, or continue, and print the run folder."""
    config = tyro.cli(Config, args=arguments, prog="odeploy train fmer")
    _check(config)
    task = resolve(config.task)
    O, A = len(task.observation), len(task.action)  # noqa: E741
    flow = FlowConfig(O, A, config.width, config.depth, clip=OBSERVATION_CLIP, squash=True)
    sizes = BestOfNConfig(flow, config.critic_widths, critic_norm=config.critic_norm)
    run("fmer", config, task, sizes, partial(start, config, sizes))


def start(config: Config, sizes: BestOfNConfig, core_config: OffPolicyConfig, envs: TaskVectorEnv) -> Learner:
    """Make a learner at step 0."""
    generator = torch.Generator().manual_seed(config.seed)
    shared = {name: getattr(config, name) for name in Improvement.__dataclass_fields__}
    shared["alpha_lr"] = config.lr if config.alpha_lr is None else config.alpha_lr
    shared["target_entropy"] = config.target_entropy * sizes.flow.action_size
    velocity = velocity_net(sizes.flow)
    initialise(velocity, generator)  # before there is a slow copy of it
    actor = FmerActor(velocity, Improvement(**shared))
    O, A = sizes.flow.observation_size, sizes.flow.action_size  # noqa: E741
    critics = TwinCritics(O, A, config.critic_widths, config.critic_norm)
    initialise(critics, generator)
    core = OffPolicy(core_config, actor, critics, envs, generator)
    return Learner(core, lambda: deployed(core, actor, envs.task, sizes, config.scored_choices))


class Scored(BestOfN):
    """Best-of-N policy with solver, N and noise of its own, as scored."""

    def __init__(self, config: BestOfNConfig, choices: int, solver_steps: int) -> None:
        super().__init__(config)
        self._choices, self._t_grid = choices, uniform_grid(solver_steps)
        self._generator = torch.Generator().manual_seed(0)

    @torch.no_grad()
    def forward(self, observation: Tensor) -> Tensor:
        """Return actions in robot units, given raw observations. Shapes (B, O) -> (B, A)."""
        shape = len(observation), self._choices, len(self.flow.low)
        noise = torch.randn(shape, generator=self._generator)
        return self.sample(observation.to(noise.dtype), noise, EULER, self._t_grid).action


def deployed(core: OffPolicy, actor: FmerActor, task: Task, sizes: BestOfNConfig, choices: int) -> Scored:
    """Return the policy of this moment, which scores the best of some samples."""
    policy = Scored(sizes, choices, actor.how.solver_steps)
    policy.flow.velocity.load_state_dict(actor.velocity.state_dict())
    policy.critics.load_state_dict(core.critics.both.state_dict())
    policy.flow.observation_mean = core.moments.mean.float()
    policy.flow.observation_std = core.moments.std(STD_FLOOR).float()
    policy.flow.low, policy.flow.high = torch.from_numpy(lows(task.action)), torch.from_numpy(highs(task.action))
    return policy


def _check(config: Config) -> None:
    require_positive(
        candidates=config.candidates, choices=config.choices, scored_choices=config.scored_choices,
        solver_steps=config.solver_steps,
        perturbations=config.perturbations, spread=config.spread, renew_every=config.renew_every,
        target_choices=config.target_choices, entropy_draws=config.entropy_draws, actor_lr=config.actor_lr,
        width=config.width, depth=config.depth,
    )  # fmt: skip
    if config.alpha_lr is not None:
        require_positive(alpha_lr=config.alpha_lr)
    require_from_zero(
        uniform=(config.uniform, float("inf")), alpha=(config.alpha, float("inf")),
        resample=(config.resample, float("inf")),
    )  # fmt: skip
    if not 0 < config.slow_rate <= 1:
        raise UsageError(
            where="--slow-rate", expected="above 0, at most 1", got=f"{config.slow_rate:g}", remedy="change it"
        )
    count = config.candidates * config.perturbations + config.uniform
    if not 2 <= config.effective_share * count < count:
        raise UsageError(
            where="--effective-share",
            expected=f"at least 2 of {count} candidates, and below 1: with fewer the policy collapses",
            got=f"{config.effective_share:g}, {config.effective_share * count:.3g} of them",
            remedy="raise it, or --candidates or --perturbations",
        )
    if config.entropy_draws > config.candidates:
        raise UsageError(
            where="--entropy-draws",
            expected=f"at most --candidates {config.candidates}",
            got=str(config.entropy_draws),
            remedy="change one of them",
        )
    if config.target_entropy >= 0.6931:
        raise UsageError(
            where="--target-entropy",
            expected="below log 2 = 0.693, that of uniform actions",
            got=f"{config.target_entropy:g}",
            remedy="choose a lower one",
        )
