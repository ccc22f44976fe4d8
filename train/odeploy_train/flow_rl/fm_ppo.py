"""`odeploy train fm-ppo`: a flow policy trained by PPO on its density.

One of the four online updates of a flow that FM-IRL compares (arXiv 2510.09222, Figure 5):

    ρ = exp(log p_θ(a|s) - log p_old(a|s)),    log p by K reverse Euler steps (`odeploy_train.flow_rl.log_density`)

in PPO's clipped surrogate. K = 40 and the single probe are the authors'. The authors' code redraws Gaussian probes
at every step and every evaluation, so its ratio is noise about 1 before the first update, and it cuts the gradient
of the divergences through the path. Here an action keeps its random signs as long as its rollout is used, in all
steps and for both policies, and the gradient is that of the whole estimate. Also ours: the exact trace, the limits
of the ratio's logarithm, and clip 0.2.

An update costs about nine times FPO's: K evaluations, each with a derivative, for each row of a minibatch.
"""

from dataclasses import dataclass, replace
from typing import Literal

import torch
import tyro
from torch import Tensor

from odeploy_train.flow_rl import run as flow_run
from odeploy_train.flow_rl.actor import FlowActor, Sampling
from odeploy_train.flow_rl.log_density import log_density
from odeploy_train.flow_rl.run import run, sampling
from odeploy_train.modules.flow_paths import sign_probes, unit_probes
from odeploy_train.modules.networks import VelocityNet
from odeploy_train.on_policy.ppo import clipped_surrogate
from odeploy_train.on_policy.ratio import limited_ratio
from odeploy_train.on_policy.rollout import Rows
from odeploy_train.policies.flow import FlowConfig, velocity_net
from odeploy_train.runs.learning_curve import Info
from odeploy_train.runs.options import require_positive


@dataclass(frozen=True)
class Config(flow_run.Config):
    """Train a flow policy by PPO on its density.

    The same command continues an interrupted run.
    """

    clip: float = 0.2
    """Clip range ε of the ratio."""
    solver_steps: int = 40
    """Solver steps K of rollouts, and of the reverse path that gives the density."""
    trace: Literal["probes", "exact"] = "probes"
    """Trace of ∂v/∂x: Hutchinson's estimate, or D products for the exact one, which is cheap for few actions."""
    probes: int = 1
    """Random signs per action in Hutchinson's estimate."""


def main(arguments: list[str]) -> None:
    """Train, or continue, and print the run folder."""
    config = tyro.cli(Config, args=arguments, prog="odeploy train fm-ppo")
    require_positive(probes=config.probes)
    run("fm-ppo", config, actor)


def actor(config: Config, sizes: FlowConfig, _generator: torch.Generator) -> "FmPpoActor":
    """Make the actor that the options describe."""
    return FmPpoActor(velocity_net(sizes), sampling(config), config.probes if config.trace == "probes" else None)


class FmPpoActor(FlowActor):
    """Flow with the density of its actions; see `on_policy.ppo.Actor`.

    Args:
        velocity, sampling: see `FlowActor`; without perturbation, which the density does not include.
        probes: probes of the divergence per action; None for the exact one.
    """

    def __init__(self, velocity: VelocityNet, sampling: Sampling, probes: int | None = 1) -> None:
        super().__init__(velocity, replace(sampling, perturbation=0.0))
        self.probes = probes

    def remember(self, observation: Tensor, action: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """Return the flow's end, the probes, and this policy's log-density there."""
        x1 = self.to_flow(action)
        probes = unit_probes(x1) if self.probes is None else sign_probes(x1, self.probes, generator)
        return {"x1": x1, "probes": probes, "log_density": log_density(self, observation, x1, probes)}

    def objective(self, rows: Rows, clip: float) -> tuple[Tensor, Info]:
        """Return PPO's clipped surrogate."""
        kept = rows.remembered
        new = log_density(self, rows.observation, kept["x1"], kept["probes"])
        loss, info = clipped_surrogate(limited_ratio(new - kept["log_density"]), rows.advantage, clip)
        return loss, info | {"log_density": new.detach().mean()}
