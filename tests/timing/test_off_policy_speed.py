"""Time of an update in each off-policy method, in turn in one run: one batch, the same critics, hopper.

FMER and SAC have the options of results/off-policy.toml, whose batch and critics all others have too; SAC is also
stable-baselines3's, with critics of the same widths. The diffusion policies have their authors' sizes: QVPO 64
candidates × 20 steps, DIPO 100 steps and 20 action gradients, DPMD 20 steps and the best of 32, or one sample.
FMER's paper reports a seventh of QVPO's training time. The text available to us does not name its candidates and
solver steps, so a second table varies them. No table includes collecting.
"""

import tomllib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from rich.table import Table
from stable_baselines3 import SAC

from odeploy_runtime.realtime.machine import machine_line
from odeploy_runtime.reports.interleaved_timing import Call, interleaved
from odeploy_sim.catalogue import get
from odeploy_sim.tasks.gym_env import FlatEnv
from odeploy_sim.tasks.vector import make_vector
from odeploy_sim.tasks.vector_env import TaskVectorEnv
from odeploy_train.diffusion_rl import dipo, dpmd, qvpo
from odeploy_train.diffusion_rl import run as diffusion_run
from odeploy_train.off_policy import fmer_run, sac
from odeploy_train.off_policy.core import OffPolicyConfig
from odeploy_train.off_policy.run import Config, Learner
from odeploy_train.policies.best_of_n import BestOfNConfig
from odeploy_train.policies.flow import FlowConfig
from odeploy_train.policies.mlp import MlpConfig

HOPPER, ROUNDS = get("hopper"), 5
UPDATES = 6  # in one call: a method may update its actor at every second or third only
CANDIDATES, STEPS = (4, 8, 16, 32, 64), (5, 10, 20)  # QVPO's are 64 and 20
O, A = len(HOPPER.observation), len(HOPPER.action)  # noqa: E741
SPEC = tomllib.loads((Path(__file__).parents[2] / "results" / "off-policy.toml").read_text())
RUN = {"steps", "score_every", "keep", "workers", "updates_per_step"}  # options without an effect on an update
TUNED = {
    name: {option: value for option, value in method["options"].items() if option not in RUN}
    for name, method in SPEC["methods"].items()
}
BATCH = TUNED["SAC"]["batch"]


@pytest.mark.timing
@pytest.mark.timeout(900)
def test_an_update_of_fmer_is_short_and_sac_is_faster_than_stable_baselines3s() -> None:
    torch.set_num_threads(1)
    calls = {
        "SAC": update("sac"),
        "SAC of stable-baselines3": theirs(),
        "FMER": update("fmer", **TUNED["FMER"]),
        "DIPO": update("dipo"),
        "DPMD, one sample": update("dpmd", target_samples=1),
        "DPMD, best of 32": update("dpmd"),
        "QVPO": update("qvpo"),
    }
    p50 = p50_ms(calls)
    table = Table("", "p50 ms", "× FMER", title=f"an update, batch {BATCH}, {machine_line()}")
    for name, ms in p50.items():
        table.add_row(name, f"{ms:.1f}", f"{ms / p50['FMER']:.2f}")
    Console(width=110).print(table)
    assert p50["FMER"] < p50["QVPO"] / 7
    assert p50["FMER"] <= 8
    assert p50["SAC"] * 1.5 <= p50["SAC of stable-baselines3"]


@pytest.mark.timing
@pytest.mark.timeout(900)
def test_qvpos_update_takes_longer_than_fmers_with_as_many_candidates_and_steps() -> None:
    torch.set_num_threads(1)
    calls = {"QVPO": update("qvpo")}
    calls |= {f"{M} × {K}": update("fmer", candidates=M, solver_steps=K) for M in CANDIDATES for K in STEPS}
    p50 = p50_ms(calls)
    title = f"QVPO's update ({p50['QVPO']:.1f} ms) in units of FMER's, batch {BATCH}, {machine_line()}"
    table = Table("candidates", *(f"{K} steps" for K in STEPS), title=title)
    for M in CANDIDATES:
        table.add_row(str(M), *(f"{p50['QVPO'] / p50[f'{M} × {K}']:.1f}" for K in STEPS))
    Console(width=110).print(table)
    config = qvpo.Config("hopper", Path())
    assert p50[f"{config.candidates} × {config.diffusion_steps}"] < p50["QVPO"]


def p50_ms(calls: dict[str, Call]) -> dict[str, float]:
    """Return the medians of calls in turn, for one update [ms]."""
    times = interleaved(calls, ROUNDS, each=2)
    return {name: float(np.median(each)) / 1e6 / UPDATES for name, each in times.items()}


def update(verb: str, **options: Any) -> Call:
    """Return several updates of a learner with random transitions in its replay buffer."""
    given: dict[str, Any] = {**TUNED["SAC"], "start_steps": 1_000, "capacity": 1_000, **options}
    start: Callable[[OffPolicyConfig, TaskVectorEnv], Learner]
    if verb == "sac":
        sac_config = sac.Config("hopper", Path(), **given)
        config: Config = sac_config
        start = partial(sac.start, sac_config, MlpConfig(O, A, sac_config.widths, "ReLU", clip=10.0, squash=True))
    elif verb == "fmer":
        fmer_config = fmer_run.Config("hopper", Path(), **given)
        config = fmer_config
        flow = FlowConfig(O, A, fmer_config.width, fmer_config.depth, clip=10.0, squash=True)
        sizes = BestOfNConfig(flow, fmer_config.critic_widths, critic_norm=fmer_config.critic_norm)
        start = partial(fmer_run.start, fmer_config, sizes)
    else:
        module = {"qvpo": qvpo, "dipo": dipo, "dpmd": dpmd}[verb]
        make: Any = {"qvpo": qvpo.QvpoActor, "dipo": dipo.DipoActor, "dpmd": dpmd.DpmdActor}[verb]
        diffusion = module.Config("hopper", Path(), **given)
        config = diffusion
        start = partial(diffusion_run.start, diffusion, diffusion_run.policy_sizes(diffusion, HOPPER), make)
    shared = {name: getattr(config, name) for name in OffPolicyConfig.__dataclass_fields__}
    core = start(OffPolicyConfig(**shared), make_vector(HOPPER, 4, workers=0)).core
    while len(core.replay) < 1_000:
        core.tick()
    core.envs.close()

    def call() -> None:
        for _ in range(UPDATES):
            core.update()

    return call


def theirs() -> Call:
    """Return as many updates of stable-baselines3's SAC, at the same sizes and rates."""
    config = TUNED["SAC"]
    widths = list(config.get("critic_widths", (256, 256)))
    model = SAC(
        "MlpPolicy", FlatEnv(HOPPER), seed=0, device="cpu", batch_size=BATCH, learning_starts=1_000,
        buffer_size=1_000, learning_rate=config["lr"], policy_kwargs={"net_arch": widths},
    )  # fmt: skip
    model.learn(1_000)  # fills the buffer, without an update
    return lambda: model.train(gradient_steps=UPDATES, batch_size=BATCH)
