"""Environment steps a second of FPO and FPO++ against Gaussian PPO, in turn in one run on hopper, by parts.

Whole iterations of the sweeps' sizes: 64 environments, 128 ticks, 8 epochs, batch 1024; a Gaussian of 2 × 64,
flows of 3 × 64. Target: FPO at 0.6 × Gaussian PPO's speed or more. With a C++ compiler, a second test measures the
parts under `torch.compile`.
"""

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from rich.table import Table

from odeploy_runtime.realtime.machine import machine_line
from odeploy_runtime.reports.interleaved_timing import Call, interleaved
from odeploy_sim.catalogue import get
from odeploy_sim.tasks.vector import make_vector
from odeploy_train.flow_rl import fpo_run
from odeploy_train.flow_rl import run as flow_run
from odeploy_train.flow_rl.actor import FlowActor
from odeploy_train.flow_rl.fpo import fpo, fpo_plus_plus
from odeploy_train.on_policy import gaussian_ppo
from odeploy_train.on_policy.ppo import Ppo
from odeploy_train.policies.flow import FlowConfig
from odeploy_train.policies.mlp import MlpConfig

ENVS, TICKS, ROUNDS, HERE = 64, 128, 5, Path()
SIZES: dict[str, Any] = {"envs": ENVS, "ticks": TICKS, "epochs": 8, "batch": 1024}
HOPPER = get("hopper")
O, A = len(HOPPER.observation), len(HOPPER.action)  # noqa: E741


@pytest.mark.timing
@pytest.mark.timeout(600)
def test_fpo_has_at_least_three_fifths_of_gaussian_ppos_speed() -> None:
    torch.set_num_threads(1)
    contenders = {
        "Gaussian PPO": Contender(gaussian()),
        "FPO": Contender(flow(fpo_run.Config("hopper", HERE, **SIZES))),
        "FPO, 16 draws": Contender(flow(fpo_run.Config("hopper", HERE, draws=16, **SIZES))),
        "FPO++, 10 steps": Contender(flow(fpo_run.PlusPlusConfig("hopper", HERE, solver_steps=10, **SIZES))),
        "FPO++": Contender(flow(fpo_run.PlusPlusConfig("hopper", HERE, **SIZES))),
    }
    for _ in range(ROUNDS):
        for contender in contenders.values():
            contender.iterate()
    rates = {name: ENVS * TICKS / sum(contender.spent_s()) for name, contender in contenders.items()}
    table = Table(
        "",
        "steps a second",
        "× Gaussian PPO",
        "environments",
        "actor",
        "update",
        title=f"hopper, {machine_line()}",
    )
    for name, rate in rates.items():
        shares = (f"{spent * rate / (ENVS * TICKS):.0%}" for spent in contenders[name].spent_s())
        table.add_row(name, f"{rate:,.0f}", f"{rate / rates['Gaussian PPO']:.2f}", *shares)
    Console(width=110).print(table)
    assert rates["FPO"] >= 0.6 * rates["Gaussian PPO"]


@pytest.mark.timing
@pytest.mark.timeout(600)
@pytest.mark.skipif(not shutil.which("g++"), reason="torch.compile writes C++ for a CPU")
def test_a_compiled_sampler_gives_the_same_actions_and_its_speed_is_printed() -> None:
    torch.set_num_threads(1)
    actor = flow(fpo_run.Config("hopper", HERE, **SIZES)).actor
    assert isinstance(actor, FlowActor)
    observation, noise = torch.randn(ENVS, O), torch.randn(ENVS, A)
    parts: dict[str, dict[str, Call]] = {
        f"sampler, {ENVS} environments": {
            "eager": partial(actor.sample, observation, noise),
            "compiled": partial(torch.no_grad()(torch.compile(actor.sample)), observation, noise),
        }
    }
    for batch, draws in ((256, 8), (1024, 8)):
        config = fpo_run.Config("hopper", HERE, batch=batch, draws=draws, ticks=64, envs=ENVS)
        parts[f"minibatch of {batch}, {draws} draws"] = {
            "eager": minibatch(config),
            "compiled": minibatch(replace(config, compile=True)),
        }
    table = Table("", "eager p50 µs", "compiled p50 µs", "÷", title=f"FPO on hopper, {machine_line()}")
    for name, calls in parts.items():
        p50 = {form: float(np.median(times)) / 1e3 for form, times in interleaved(calls, rounds=30).items()}
        table.add_row(name, *(f"{us:.0f}" for us in p50.values()), f"{p50['compiled'] / p50['eager']:.2f}")
    Console(width=110).print(table)
    torch.testing.assert_close(*(call() for call in parts[f"sampler, {ENVS} environments"].values()))


def minibatch(config: fpo_run.Config) -> Callable[[], object]:
    """Return one update: loss, gradient and step."""
    ppo = flow(config)
    rows = ppo.rows(ppo.collect()).take(torch.arange(config.batch))
    return lambda: ppo._descend(rows)


@dataclass
class Contender:
    """Learner timed by parts."""

    ppo: Ppo
    parts_s: list[tuple[float, float, float]] = field(default_factory=list)

    def iterate(self) -> None:
        """Collect, update, normalise."""
        acting_s = 0.0
        act = self.ppo.actor.act

        def timed(observation: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
            nonlocal acting_s
            start = time.perf_counter()
            action = act(observation, generator)
            acting_s += time.perf_counter() - start
            return action

        self.ppo.actor.act = timed  # type: ignore[method-assign]
        start = time.perf_counter()
        rollout = self.ppo.collect()
        collected = time.perf_counter()
        del self.ppo.actor.act
        self.ppo.update(self.ppo.rows(rollout), 0.0)
        self.ppo.learn_scale(rollout.raw.flatten(0, 1))
        self.parts_s.append((collected - start - acting_s, acting_s, time.perf_counter() - collected))

    def spent_s(self) -> tuple[float, ...]:
        """Return the medians over all iterations except the first: environments, actor, update."""
        return tuple(np.median(np.array(self.parts_s[1:]), axis=0).tolist())


def gaussian() -> Ppo:
    """Return a Gaussian PPO learner."""
    config = gaussian_ppo.Config("hopper", HERE, **SIZES)
    envs = make_vector(HOPPER, ENVS, workers=0)
    return gaussian_ppo.start(config, HOPPER, envs, MlpConfig(O, A, config.widths, clip=10.0)).ppo


def flow(config: fpo_run.Config) -> Ppo:
    """Return an FPO or FPO++ learner."""
    surrogate = fpo_plus_plus if isinstance(config, fpo_run.PlusPlusConfig) else fpo
    sizes = FlowConfig(O, A, config.width, config.depth, clip=10.0, squash=config.squash)
    envs = make_vector(HOPPER, ENVS, workers=0)
    return flow_run.start(config, partial(fpo_run.actor, surrogate), HOPPER, envs, sizes).ppo
