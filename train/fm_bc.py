"""`odeploy train fm-bc`: flow-matching behaviour cloning, the policy that is deployed as "teacher".

FP of FM-IRL (arXiv 2510.09222): a velocity field over the action, conditioned on the observation, regressed
on the straight path from noise to the demonstrated action. Ours runs t = 0 noise to t = 1 action; FP holds
the observation inside the flow's state instead, which comes to the same. The width, the steps and the
learning rate are ours.

    L = E_{t, x_0, (s, a)} ‖ v(s, (1 - t) x_0 + t a, t) - (a - x_0) ‖² / A
"""

from dataclasses import dataclass
from pathlib import Path

import torch
import tyro
from rich.console import Console

from sim_bridge.catalogue import get
from sim_bridge.demonstrations import load
from train import run
from train.loop import require_positive
from train.policies import FlowConfig


@dataclass(frozen=True)
class Config:
    """Trains a flow-matching policy on demonstrations. The same command continues an interrupted run."""

    task: str
    """Name of a catalogued task."""
    demos: str
    """Folder of a dataset, or a Minari id."""
    out: Path
    """Folder of the run: new, or that of an interrupted one."""
    steps: int = 12_000
    """Gradient steps."""
    batch: int = 256
    """Rows per step."""
    lr: float = 3e-3
    """Peak learning rate; it falls to 0 along half a cosine."""
    width: int = 256
    """Neurons of each hidden layer."""
    depth: int = 3
    """Hidden layers."""
    seed: int = 0
    """Of every random number."""
    threads: int = 2
    """Of torch; one step of the default size took 3.8 ms with 1 and 2.2 ms with 2."""
    episodes: int = 20
    """Played at the end to print a first score; 0 for none. Euler, 10 steps, normal noise."""


def main(arguments: list[str]) -> None:
    """Trains, or continues, and says where the run is and what it is worth."""
    config, console = tyro.cli(Config, args=arguments, prog="odeploy train fm-bc"), Console()
    require_positive(
        steps=config.steps,
        batch=config.batch,
        lr=config.lr,
        width=config.width,
        depth=config.depth,
        threads=config.threads,
    )
    torch.set_num_threads(config.threads)
    task = get(config.task)
    demonstrations = load(config.demos, task)
    policy_config = FlowConfig(len(task.observation), len(task.action), config.width, config.depth)
    card = run.new_card("fm-bc", "flow", task.name, demonstrations.data_hash, config, policy_config)
    run.begin(config.out, card)
    policy, state = learner(config, policy_config, demonstrations, task)
    state.resume(config.out)
    if state.step == config.steps:
        console.print(f"finished already, at step {state.step}")
    else:
        fit(config, policy, state, demonstrations, console)
        if config.episodes > 0:
            console.print(first_score(policy, task, state.generator, config.episodes))
    console.print(f"run: {config.out}", soft_wrap=True)
