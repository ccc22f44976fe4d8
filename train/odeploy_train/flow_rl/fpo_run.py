"""`odeploy train fpo | fpo++`: a flow policy trained by FPO or FPO++.

FPO: the paper's control-suite setting as far as it fits one machine: ε-MSE over 8 draws at the solver's own times,
ten Euler steps, clip 0.05, tanh after the flow. Rollouts, reward scale, advantages and learning rate are those of
`train ppo`, so the two differ in the policy and its ratio alone.

FPO++: the authors' locomotion setting as far as it fits one machine: 16 draws of u-MSE over √D at continuous
times, clip 0.05, a moving average of the weights that is deployed, no tanh. Ours are Adam for AdamW with its decay
of 1e-4, SiLU for ELU, and an average that begins at once: theirs waits for 500 iterations, more than a run here
may have.
"""

import math
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
import tyro

from odeploy_train.flow_rl import run as flow_run
from odeploy_train.flow_rl.fpo import Draws, FpoActor, Surrogate, fpo, fpo_plus_plus
from odeploy_train.flow_rl.run import run, sampling
from odeploy_train.modules.ode import uniform_grid
from odeploy_train.policies.flow import FlowConfig, velocity_net
from odeploy_train.runs.options import require_from_zero, require_positive


@dataclass(frozen=True)
class Config(flow_run.Config):
    """Train a flow policy by FPO. The same command continues an interrupted run."""

    draws: int = 8
    """Pairs N_mc of time and noise per action, on which old and new policy are compared."""
    supervised: Literal["u", "eps"] = "eps"
    """Squared error: of the velocity, or of the noise that it implies."""
    reduction: Literal["mean", "root"] = "mean"
    """Divisor of a squared error summed over D dimensions: D, or √D."""
    times: Literal["solver", "continuous"] = "solver"
    """Times of the draws: the starts of the rollouts' solver steps, or any."""
    time_margin: float = 0.0
    """Distance of continuous times from 0 and 1."""
    perturbation: float = 0.0
    """Standard deviation of the noise on the flow's end in rollouts: the lower bound of exploration."""
    brownian: float = 0.0
    """Weight w_b of PolicyFlow's term against a collapse of the actions; 0 for none."""
    zero_start: bool = True
    """Begin with a velocity of 0, by zeros in its last layer: first actions are the bounded noise, as in
    PolicyFlow and GoRL. Without effect with --init."""


@dataclass(frozen=True)
class PlusPlusConfig(Config):
    """Train a flow policy by FPO++. The same command continues an interrupted run."""

    lr: float = 1e-4
    """Learning rate at the start; falls linearly to 0."""
    draws: int = 16
    """Pairs N_mc of time and noise per action, on which old and new policy are compared."""
    supervised: Literal["u", "eps"] = "u"
    """Squared error: of the velocity, or of the noise that it implies."""
    reduction: Literal["mean", "root"] = "root"
    """Divisor of a squared error summed over D dimensions: D, or √D."""
    times: Literal["solver", "continuous"] = "continuous"
    """Times of the draws: the starts of the rollouts' solver steps, or any."""
    time_margin: float = 0.005
    """Distance of continuous times from 0 and 1."""
    trust_region: Literal["aspo", "ppo"] = "aspo"
    """Bound of a ratio with a negative advantage: SPO's parabola, or PPO's clip."""
    solver_steps: int = 64
    """Solver steps K of rollouts."""
    score_steps: int = 5
    """Solver steps K of scores."""
    squash: bool = False
    """Whether the action is tanh of the flow's end; otherwise the environment clips it."""
    output_scale: float = 1.0
    """Factor of the network's output."""
    perturbation: float = 0.02
    """Standard deviation of the noise on the flow's end in rollouts: the lower bound of exploration."""
    average: float = 0.95
    """Decay per iteration of the moving average of the weights, which is deployed; 0 for no average."""


def main(arguments: list[str]) -> None:
    """Train, or continue, and print the run folder."""
    config = tyro.cli(Config, args=arguments, prog="odeploy train fpo")
    check(config)
    run("fpo", config, partial(actor, fpo))


def main_plus_plus(arguments: list[str]) -> None:
    """Train, or continue, and print the run folder."""
    config = tyro.cli(PlusPlusConfig, args=arguments, prog="odeploy train fpo++")
    check(config)
    run("fpo++", config, partial(actor, partial(fpo_plus_plus, trust_region=config.trust_region)))


def check(config: Config) -> None:
    """Refuse options of FPO or FPO++ that make no sense.

    Raises:
        UsageError: names the first one.
    """
    require_positive(draws=config.draws)
    require_from_zero(
        time_margin=(config.time_margin, 0.5), perturbation=(config.perturbation, math.inf),
        brownian=(config.brownian, math.inf),
    )  # fmt: skip


def actor(surrogate: Surrogate, config: Config, sizes: FlowConfig, _generator: torch.Generator) -> FpoActor:
    """Make the actor of FPO or FPO++ that the options describe."""
    times = uniform_grid(config.solver_steps)[:-1] if config.times == "solver" else None
    draws = Draws(config.draws, config.supervised, config.reduction, times, config.time_margin)
    return FpoActor(velocity_net(sizes), sampling(config, config.perturbation), draws, surrogate, config.brownian)
