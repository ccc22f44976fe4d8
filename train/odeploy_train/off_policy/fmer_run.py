"""`odeploy train fmer`: a flow policy with twin critics, trained by FMER.

The deployed policy is the best of N candidates, N chosen at `odeploy export`. Scores use as many candidates as are
tried in the environment. A file with one candidate returns the flow's raw samples.
"""

from dataclasses import dataclass
from functools import partial

import torch
import tyro
from torch import Tensor

from odeploy_runtime.errors import UsageError
from odeploy_runtime.signals import highs, lows
from odeploy_sim.catalogue import get
from odeploy_sim.tasks.task import Task
from odeploy_sim.tasks.vector_env import TaskVectorEnv
from odeploy_train.modules.networks import initialise
from odeploy_train.modules.ode import EULER, uniform_grid
from odeploy_train.modules.running_moments import OBSERVATION_CLIP, STD_FLOOR
from odeploy_train.off_policy import run as off_policy_run
from odeploy_train.off_policy.core import OffPolicy, OffPolicyConfig, TwinCritics
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
    """Choices N: actions of which the one with the highest Q is tried in the environment, and scored."""
    solver_steps: int = 10
    """Euler steps K; `odeploy export` chooses its own."""
    effective_share: float = 0.5
    """Effective sample size of the candidates' weights, as a share ρ of all candidates."""
    uniform: int = 0
    """Further candidates, drawn uniformly from all actions: they preserve equally good modes."""
    entropy_draws: int = 2
    """Candidates per state on whose paths the entropy is estimated."""
    target_entropy: float = -1.0
    """Target entropy of the squashed action per dimension [nat]; the maximum is log 2 = 0.693."""
    alpha: float = 0.1
    """Multiplier of the entropy at the start; 0 disables the entropy."""
    alpha_lr: float = 1e-3
    """Learning rate of the logarithm of the multiplier."""
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
    task = get(config.task)
    O, A = len(task.observation), len(task.action)  # noqa: E741
    flow = FlowConfig(O, A, config.width, config.depth, clip=OBSERVATION_CLIP, squash=True)
    sizes = BestOfNConfig(flow, config.critic_widths)
    run("fmer", config, task, sizes, partial(start, config, sizes))


def start(config: Config, sizes: BestOfNConfig, core_config: OffPolicyConfig, envs: TaskVectorEnv) -> Learner:
    """Make a learner at step 0."""
    generator = torch.Generator().manual_seed(config.seed)
    shared = {name: getattr(config, name) for name in Improvement.__dataclass_fields__}
    shared["target_entropy"] = config.target_entropy * sizes.flow.action_size
    actor = FmerActor(velocity_net(sizes.flow), Improvement(**shared))
    critics = TwinCritics(sizes.flow.observation_size, sizes.flow.action_size, config.critic_widths)
    initialise(actor, generator)
    initialise(critics, generator)
    core = OffPolicy(core_config, actor, critics, envs, generator)
    return Learner(core, lambda: deployed(core, actor, envs.task, sizes))


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


def deployed(core: OffPolicy, actor: FmerActor, task: Task, sizes: BestOfNConfig) -> Scored:
    """Return the policy of this moment."""
    policy = Scored(sizes, actor.how.choices, actor.how.solver_steps)
    policy.flow.velocity.load_state_dict(actor.velocity.state_dict())
    policy.critics.load_state_dict(core.critics.both.state_dict())
    policy.flow.observation_mean = core.moments.mean.float()
    policy.flow.observation_std = core.moments.std(STD_FLOOR).float()
    policy.flow.low, policy.flow.high = torch.from_numpy(lows(task.action)), torch.from_numpy(highs(task.action))
    return policy


def _check(config: Config) -> None:
    require_positive(
        candidates=config.candidates, choices=config.choices, solver_steps=config.solver_steps,
        entropy_draws=config.entropy_draws, alpha_lr=config.alpha_lr, actor_lr=config.actor_lr,
        width=config.width, depth=config.depth,
    )  # fmt: skip
    require_from_zero(uniform=(config.uniform, float("inf")), alpha=(config.alpha, float("inf")))
    count = config.candidates + config.uniform
    shares = f"above 1/{count} and below 1, with at least 2 candidates"
    if not 1 / count < config.effective_share < 1:
        raise UsageError(
            where="--effective-share", expected=shares, got=f"{config.effective_share:g}", remedy="change it"
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
