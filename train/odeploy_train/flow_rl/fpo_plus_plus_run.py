"""`odeploy train fpo++`: FPO++ on the environment's own reward.

The authors' locomotion setting where it fits one machine: 16 draws of u-MSE over √D at continuous times, clip
0.05, a moving average of the weights that is deployed, no tanh. Ours are Adam for AdamW with its decay of 1e-4,
SiLU for ELU, advantages normalised in each minibatch, and an average that begins at once: theirs waits for 500
iterations, more than a run here may have.
"""

from dataclasses import dataclass
from functools import partial
from typing import Literal

import tyro

from odeploy_train.flow_rl import fpo_run
from odeploy_train.flow_rl.fpo import fpo_plus_plus
from odeploy_train.flow_rl.fpo_run import actor, check
from odeploy_train.flow_rl.run import run


@dataclass(frozen=True)
class Config(fpo_run.Config):
    """Trains a flow policy by FPO++. The same command continues an interrupted run."""

    lr: float = 1e-4
    """Learning rate at the start; it falls to 0 linearly."""
    draws: int = 16
    """N_mc: pairs of time and noise on which old and new policy are compared, for each action."""
    supervised: Literal["u", "eps"] = "u"
    """The squared error: of the velocity, or of the noise that it implies."""
    reduction: Literal["mean", "root"] = "root"
    """What a squared error summed over D dimensions is divided by: D, or √D."""
    times: Literal["solver", "continuous"] = "continuous"
    """Draws' times: those at which the steps of the rollouts' solver begin, or any."""
    time_margin: float = 0.005
    """How far continuous times stay away from 0 and 1."""
    trust_region: Literal["aspo", "ppo"] = "aspo"
    """What bounds a ratio where the advantage is negative: SPO's parabola, or PPO's clip."""
    solver_steps: int = 64
    """K of rollouts."""
    score_steps: int = 5
    """K of scores."""
    squash: bool = False
    """Whether the environment is given tanh of the flow's end; otherwise it clips it."""
    output_scale: float = 1.0
    """What the network's output is multiplied by."""
    perturbation: float = 0.02
    """Standard deviation of the noise on the flow's end in rollouts."""
    average: float = 0.95
    """Decay, an iteration, of the moving average of the weights that is deployed; 0 for the weights themselves."""


def main(arguments: list[str]) -> None:
    """Trains, or continues, and says where the run is."""
    config = tyro.cli(Config, args=arguments, prog="odeploy train fpo++")
    check(config)
    run("fpo++", config, partial(actor, partial(fpo_plus_plus, trust_region=config.trust_region)))
