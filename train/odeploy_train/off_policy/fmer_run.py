"""`odeploy train fmer`: a flow policy with twin critics, trained by FMER on the environment's own reward.

What is deployed is the best of N candidates, N chosen at `odeploy export`; what is scored is the best of as many
as are tried in the environment while training. With one candidate a file answers with the flow's raw samples.
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
    """Trains a flow policy by FMER. The same command continues an interrupted run."""

    batch: int = 128
    """Transitions of an update; the flow is regressed on M candidates for each."""
    candidates: int = 8
    """M: actions of the flow for each state that it is regressed on."""
    choices: int = 8
    """N: actions of which the one with the highest Q is tried in the environment, and scored."""
    solver_steps: int = 10
    """K, of Euler; a file takes its own at `odeploy export`."""
    effective_share: float = 0.5
    """ρ: effective sample size of the candidates' weights, as a share of all candidates."""
    uniform: int = 0
    """Further candidates, drawn from all actions alike: they keep ways that are equally good."""
    entropy_draws: int = 2
    """Of each state's candidates, those whose paths the entropy is estimated on."""
    target_entropy: float = -1.0
    """Of the squashed action, in nats for each of its dimensions; log 2 = 0.693 is the most there is."""
    alpha: float = 0.1
    """Multiplier of the entropy at the start; 0 leaves the entropy out for good."""
    alpha_lr: float = 1e-3
    """Learning rate of its logarithm."""
    actor_lr: float = 3e-4
    """Learning rate of the velocity; `lr` is the critics'."""
    width: int = 256
    """Neurons of each hidden layer of the velocity."""
    depth: int = 2
    """Hidden layers of the velocity, SiLU."""


def main(arguments: list[str]) -> None:
    """Trains, or continues, and says where the run is."""
    config = tyro.cli(Config, args=arguments, prog="odeploy train fmer")
    _check(config)
    task = get(config.task)
    O, A = len(task.observation), len(task.action)  # noqa: E741
    flow = FlowConfig(O, A, config.width, config.depth, clip=OBSERVATION_CLIP, squash=True)
    sizes = BestOfNConfig(flow, config.critic_widths)
    run("fmer", config, task, sizes, partial(start, config, sizes))


def start(config: Config, sizes: BestOfNConfig, core_config: OffPolicyConfig, envs: TaskVectorEnv) -> Learner:
    """A learner that has seen nothing yet."""
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
    """A best-of-N policy with the noise, solver and N of training, drawn anew by each: what is scored."""

    def __init__(self, config: BestOfNConfig, choices: int, solver_steps: int) -> None:
        super().__init__(config)
        self._choices, self._t_grid = choices, uniform_grid(solver_steps)
        self._generator = torch.Generator().manual_seed(0)

    @torch.no_grad()
    def forward(self, observation: Tensor) -> Tensor:
        """Raw observations to actions in robot units. Shapes (B, O) -> (B, A)."""
        shape = len(observation), self._choices, len(self.flow.low)
        noise = torch.randn(shape, generator=self._generator)
        return self.sample(observation.to(noise.dtype), noise, EULER, self._t_grid).action


def deployed(core: OffPolicy, actor: FmerActor, task: Task, sizes: BestOfNConfig) -> Scored:
    """The policy of this moment."""
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
