"""`odeploy train fm-a2c`: a flow policy trained by a critic's gradient.

The gradient passes through the solver's steps. One of the four online updates of a flow that FM-IRL compares
(arXiv 2510.09222, Figure 5):

    L = -E_{s, ε}[ Q(s, a_θ(s, ε)) ] + E[ (Q(s, a) - G)² ],    a_θ(s, ε) = K Euler steps from ε

K = 40, and a Q regressed on the returns of the rollout's own pairs (s, a), are the authors'; no density is needed.
Such a Q is accurate only where the rollout has been, and hardly about a, by which it is differentiated. So ours
differs:

- Q is split in V, the core's critic, and A. Returns differ far more from state to state than from action to
action,
  and V has no part in ∂Q/∂a. A is regressed on the same normalised GAE advantages that weight PPO's ratio, which
  are centred.
- Not A of the new action a is raised but min(A(a), A(a_old + clip(a - a_old, ±ε))): PPO's pessimism, with the
  action's move from the same noise in place of the ratio. ε = 2 is no limit on squashed actions, as in their code.
- A learns from a rollout first, all epochs of it, and then once more while the flow climbs: on a bandit, a flow
with
  an A that only keeps pace with it overshot the best action.
- The actor's loss does not train A. In the authors' code one optimizer minimises their sum, so Q also grows where
  the actor is.
- Rollouts may add noise to the flow's end: the flow learns where to end, from every noise, and nothing keeps the
ends
  of different noise apart. Without differing actions A has nothing to learn from.
"""

import math
from dataclasses import dataclass

import torch
import tyro
from torch import Tensor, nn

from odeploy_runtime.errors import UsageError
from odeploy_train.flow_rl import run as flow_run
from odeploy_train.flow_rl.actor import FlowActor, Sampling
from odeploy_train.flow_rl.run import run, sampling
from odeploy_train.modules.networks import VelocityNet, initialise_orthogonal, mlp
from odeploy_train.on_policy.rollout import Rows
from odeploy_train.policies.flow import FlowConfig, velocity_net
from odeploy_train.runs.learning_curve import Info
from odeploy_train.runs.options import require_from_zero


@dataclass(frozen=True)
class Config(flow_run.Config):
    """Train a flow policy by a critic's gradient.

    The same command continues an interrupted run.
    """

    clip: float = 0.1
    """Largest move ε of an action by the updates on one rollout, in unit actions."""
    solver_steps: int = 40
    """Solver steps K of rollouts, through which the gradient passes."""
    perturbation: float = 0.1
    """Standard deviation of the noise on the flow's end in rollouts."""
    critic_warmup: int = 4
    """Iterations at the start that train critics and normalisers only: the flow learns from their gradient
    alone."""


def main(arguments: list[str]) -> None:
    """Train, or continue, and print the run folder."""
    config = tyro.cli(Config, args=arguments, prog="odeploy train fm-a2c")
    require_from_zero(perturbation=(config.perturbation, math.inf))
    if math.isfinite(config.kl_limit):
        raise UsageError(
            where="--kl-limit",
            expected="a method with a ratio, from which a KL can be estimated",
            got="fm-a2c, which has none",
            remedy="leave the option out; --clip bounds how far an action moves",
        )
    run("fm-a2c", config, actor)


def actor(config: Config, sizes: FlowConfig, generator: torch.Generator) -> "FmA2cActor":
    """Make the actor that the options describe; its critic begins almost flat."""
    advantage = mlp((sizes.observation_size + sizes.action_size, *config.critic_widths, 1), nn.Tanh)
    initialise_orthogonal(advantage, 0.01, generator)
    return FmA2cActor(velocity_net(sizes), sampling(config, config.perturbation), advantage)


class FmA2cActor(FlowActor):
    """Flow with the critic that it ascends; see `on_policy.ppo.Actor`.

    Args:
        velocity, sampling: see `FlowActor`.
        advantage: A of normalised observations and unit actions. Shapes (M, O + D) -> (M, 1).
    """

    follows_critic = True

    def __init__(self, velocity: VelocityNet, sampling: Sampling, advantage: nn.Module) -> None:
        super().__init__(velocity, sampling)
        self.advantage = advantage

    def remember(self, observation: Tensor, _action: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """Return fresh noise per state, and the unit action that this policy makes of it."""
        noise = torch.randn(len(observation), self.velocity.action_size, generator=generator)
        return {"noise": noise, "unit": self.to_unit(self.sample(observation, noise))}

    def objective(self, rows: Rows, clip: float) -> tuple[Tensor, Info]:
        """Return the sum of both losses; the critic's alone while the velocity is fixed.

        The flow's gradient is -∂A/∂a ∂a/∂θ.
        """
        error = (self._at(rows.observation, rows.action) - rows.advantage).square().mean()
        info = {"advantage_loss": error.detach()}
        if not self.velocity.last.weight.requires_grad:
            return error, info
        observation, before = rows.observation, rows.remembered["unit"]
        unit = self.to_unit(self.sample(observation, rows.remembered["noise"]))
        a = unit.detach().requires_grad_()
        near = before + (a - before).clamp(-clip, clip)
        height = torch.minimum(self._at(observation, a), self._at(observation, near))
        (slope,) = torch.autograd.grad(height.sum(), a)
        move = (a.detach() - before).abs()
        info |= {
            "advantage": height.detach().mean(),
            "moved": move.mean(),
            "clipped": (move > clip).float().mean(),
        }
        return error - (slope * unit).sum(-1).mean(), info

    def _at(self, observation: Tensor, unit: Tensor) -> Tensor:
        """Return A(s, a). Shapes (M, O), (M, D) -> (M,)."""
        height: Tensor = self.advantage(torch.cat([observation, unit], dim=-1)).squeeze(-1)
        return height
