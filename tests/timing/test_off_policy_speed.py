"""What an update costs in each off-policy method, in turn in one run: one batch, the same critics, hopper.

Every method has the sizes that its verb has by default, which for the diffusion policies are their authors': QVPO
64 candidates × 20 steps, DIPO 100 steps and 20 action gradients, DPMD 20 steps and the best of 32, or one sample.
FMER's paper says: a seventh of QVPO's training time. Collecting is not in it.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from rich.table import Table

from runtime.interleaved import Call, interleaved
from runtime.machine import machine_line
from sim_bridge.catalogue import get
from sim_bridge.vector import make_vector
from sim_bridge.vector_env import TaskVectorEnv
from train import diffusion_run, dipo, dpmd, fmer_run, qvpo, sac
from train.best_of_n import BestOfNConfig
from train.mlp_policy import MlpConfig
from train.off_policy import OffPolicyConfig
from train.off_policy_run import Learner
from train.policies import FlowConfig

HOPPER, BATCH, ROUNDS = get("hopper"), 64, 5
O, A = len(HOPPER.observation), len(HOPPER.action)  # noqa: E741


@pytest.mark.timing
@pytest.mark.timeout(900)
def test_an_update_of_fmer_takes_less_than_one_of_qvpo() -> None:
    torch.set_num_threads(1)
    here = Path()
    flow = BestOfNConfig(FlowConfig(O, A, 256, 2, clip=10.0, squash=True))
    calls = {
        "SAC": update(partial(sac.start, sac.Config("hopper", here), MlpConfig(O, A, (256, 256), "ReLU"))),
        "FMER": update(partial(fmer_run.start, fmer_run.Config("hopper", here), flow)),
        "DIPO": update(diffusion(dipo.Config("hopper", here), dipo.DipoActor)),
        "DPMD, one sample": update(diffusion(dpmd.Config("hopper", here, target_samples=1), dpmd.DpmdActor)),
        "DPMD, best of 32": update(diffusion(dpmd.Config("hopper", here), dpmd.DpmdActor)),
        "QVPO": update(diffusion(qvpo.Config("hopper", here), qvpo.QvpoActor)),
    }
    p50 = {name: float(np.median(times)) / 1e6 for name, times in interleaved(calls, ROUNDS, each=3).items()}
    table = Table("", "p50 ms", "× FMER", title=f"an update, batch {BATCH}, {machine_line()}")
    for name, ms in p50.items():
        table.add_row(name, f"{ms:.1f}", f"{ms / p50['FMER']:.2f}")
    Console(width=110).print(table)
    assert p50["FMER"] < p50["QVPO"]


def diffusion(config: diffusion_run.Config, actor: diffusion_run.MakeActor[Any]) -> Callable[..., Learner]:
    """Begins a learner of one of the three."""
    return partial(diffusion_run.start, config, diffusion_run.policy_sizes(config, HOPPER), actor)


def update(start: Callable[[OffPolicyConfig, TaskVectorEnv], Learner]) -> Call:
    """One update of a learner whose replay has random transitions."""
    config = OffPolicyConfig(batch=BATCH, start_steps=1_000, capacity=1_000)
    core = start(config, make_vector(HOPPER, 4, workers=0)).core
    for _ in range(100):
        core.tick()
    core.envs.close()
    return core.update
