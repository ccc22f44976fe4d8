"""`odeploy train fpo`: a flow policy trained by FPO on the environment's own reward.

The paper's control-suite setting where it fits one machine: ε-MSE over 8 draws at the solver's own times, ten
Euler steps, clip 0.05, tanh after the flow. Rollouts, rewards' scale, advantages and learning rate are those of
`train ppo`, so that the two differ in the policy and its ratio alone.
"""

import math
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
import tyro

from odeploy_train.flow_rl import run as flow_run
from odeploy_train.flow_rl.fpo import fpo
from odeploy_train.flow_rl.fpo_actor import Draws, FpoActor, Surrogate
from odeploy_train.flow_rl.run import run, sampling
from odeploy_train.modules.ode import uniform_grid
from odeploy_train.policies.flow import FlowConfig, velocity_net
from odeploy_train.runs.options import require_from_zero, require_positive


@dataclass(frozen=True)
class Config(flow_run.Config):
    """Trains a flow policy by FPO. The same command continues an interrupted run."""

    draws: int = 8
    """N_mc: pairs of time and noise on which old and new policy are compared, for each action."""
    supervised: Literal["u", "eps"] = "eps"
    """The squared error: of the velocity, or of the noise that it implies."""
    reduction: Literal["mean", "root"] = "mean"
    """What a squared error summed over D dimensions is divided by: D, or √D."""
    times: Literal["solver", "continuous"] = "solver"
    """Draws' times: those at which the steps of the rollouts' solver begin, or any."""
    time_margin: float = 0.0
    """How far continuous times stay away from 0 and 1."""
    perturbation: float = 0.0
    """Standard deviation of the noise on the flow's end in rollouts."""


def main(arguments: list[str]) -> None:
    """Trains, or continues, and says where the run is."""
    config = tyro.cli(Config, args=arguments, prog="odeploy train fpo")
    check(config)
    run("fpo", config, partial(actor, fpo))


def check(config: Config) -> None:
    """Refuses options of FPO or FPO++ that make no sense.

    Raises:
        UsageError: names the first one.
    """
    require_positive(draws=config.draws)
    require_from_zero(time_margin=(config.time_margin, 0.5), perturbation=(config.perturbation, math.inf))


def actor(surrogate: Surrogate, config: Config, sizes: FlowConfig, _generator: torch.Generator) -> FpoActor:
    """Of FPO or FPO++, by the options."""
    times = uniform_grid(config.solver_steps)[:-1] if config.times == "solver" else None
    draws = Draws(config.draws, config.supervised, config.reduction, times, config.time_margin)
    return FpoActor(velocity_net(sizes), sampling(config, config.perturbation), draws, surrogate)
