"""Environment steps a second of whole PPO iterations on hopper, in turn in one run, against stable-baselines3.

Same sizes: 8 environments, 512 ticks, 10 epochs, batch 256, or those of our sweeps; two hidden layers of 64;
collecting and updating. Target: at least 1.5 × stable-baselines3 with its faster vector. The table also shows the
upper bound: our own environments alone, stepped with random actions. With the extra `envpool` it has a row for
EnvPool.
"""

import importlib.util
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from rich.table import Table
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecNormalize

from odeploy_runtime.realtime.machine import machine_line
from odeploy_sim.catalogue import get
from odeploy_sim.tasks.gym_env import FlatEnv
from odeploy_sim.tasks.vector import Backend, make_vector
from odeploy_train.on_policy import gaussian_ppo
from odeploy_train.policies.mlp import MlpConfig

ROUNDS = 6
HOPPER = get("hopper")


@dataclass(frozen=True)
class Sizes:
    """Sizes of an iteration."""

    envs: int
    ticks: int
    epochs: int
    batch: int


@pytest.mark.timing
@pytest.mark.timeout(400)
@pytest.mark.parametrize("sizes", [Sizes(8, 512, 10, 256), Sizes(64, 128, 8, 1024)], ids=["small", "sweep"])
def test_ppo_is_at_least_one_and_a_half_times_as_fast_as_stable_baselines3s(sizes: Sizes, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    contenders = {
        "ours, serial": ours(sizes, 0, tmp_path),
        "ours, 2 workers": ours(sizes, 2, tmp_path),
        "sb3, DummyVecEnv": theirs(sizes, DummyVecEnv),
        "our environments alone, serial": alone(sizes, 0),
        "our environments alone, 2 workers": alone(sizes, 2),
    }
    if sizes.envs <= 8:  # a process for each environment
        contenders["sb3, SubprocVecEnv"] = theirs(sizes, SubprocVecEnv)
    if importlib.util.find_spec("envpool"):
        contenders["ours, EnvPool with 2 threads"] = ours(sizes, 2, tmp_path, "envpool")
    rates: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(ROUNDS):
        for name, iterate in contenders.items():
            begin = time.perf_counter()
            iterate()
            rates[name].append(sizes.envs * sizes.ticks / (time.perf_counter() - begin))
    medians = {name: float(np.median(rates[name][1:])) for name in rates}
    theirs_best = max(median for name, median in medians.items() if name.startswith("sb3"))
    table = Table("PPO on hopper", "steps a second", "× sb3's better", title=machine_line())
    for name, median in medians.items():
        table.add_row(name, f"{median:,.0f}", f"{median / theirs_best:.2f}")
    Console().print(table)
    assert max(medians["ours, serial"], medians["ours, 2 workers"]) >= 1.5 * theirs_best


def ours(sizes: Sizes, workers: int, folder: Path, backend: Backend = "gymnasium") -> Callable[[], object]:
    """Return one iteration: collect, update, normalise."""
    config = gaussian_ppo.Config("hopper", folder, **asdict(sizes), workers=workers, backend=backend)
    envs = make_vector(HOPPER, sizes.envs, workers=workers, backend=backend)
    ppo = gaussian_ppo.start(config, HOPPER, envs, MlpConfig(11, 3, config.widths, clip=10.0)).ppo

    def iterate() -> None:
        rollout = ppo.collect()
        ppo.update(ppo.rows(rollout), 0.0)
        ppo.learn_scale(rollout.raw.flatten(0, 1))

    return iterate


def theirs(sizes: Sizes, vector: type[DummyVecEnv] | type[SubprocVecEnv]) -> Callable[[], object]:
    """Return one iteration of stable-baselines3 with the same amount of work."""
    envs = VecNormalize(vector([lambda: FlatEnv(get("hopper")) for _ in range(sizes.envs)]))
    model = PPO(
        "MlpPolicy", envs, n_steps=sizes.ticks, batch_size=sizes.batch, n_epochs=sizes.epochs, device="cpu",
        policy_kwargs={"log_std_init": -1.0, "net_arch": [64, 64]},
    )  # fmt: skip
    return lambda: model.learn(sizes.envs * sizes.ticks, reset_num_timesteps=False)


def alone(sizes: Sizes, workers: int) -> Callable[[], object]:
    """Return as many environment steps with random actions."""
    envs, draws = make_vector(HOPPER, sizes.envs, workers=workers), np.random.default_rng(0)
    envs.reset()

    def iterate() -> None:
        for _ in range(sizes.ticks):
            envs.step(draws.uniform(-1, 1, (sizes.envs, 3)).astype(np.float32))

    return iterate
