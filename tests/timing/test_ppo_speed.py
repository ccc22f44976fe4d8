"""Environment steps a second of whole PPO iterations on hopper, in turn in one run, against stable-baselines3.

Same sizes: 8 environments, 512 ticks, 10 epochs, batch 256, two hidden layers of 64; collecting and updating.
Target: at least 1.5 × stable-baselines3 with its faster vector. The table also shows the upper bound: our own
environments alone, stepped with random actions. With the extra `envpool` it has a row for EnvPool.
"""

import importlib.util
import time
from collections.abc import Callable
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

ENVS, TICKS, ROUNDS = 8, 512, 6
HOPPER = get("hopper")


@pytest.mark.timing
@pytest.mark.timeout(400)
def test_ppo_is_at_least_one_and_a_half_times_as_fast_as_stable_baselines3s(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    contenders = {
        "ours, serial": ours(0, tmp_path),
        "ours, 2 workers": ours(2, tmp_path),
        "sb3, DummyVecEnv": theirs(DummyVecEnv),
        "sb3, SubprocVecEnv": theirs(SubprocVecEnv),
        "our environments alone, serial": alone(0),
        "our environments alone, 2 workers": alone(2),
    }
    if importlib.util.find_spec("envpool"):
        contenders["ours, EnvPool with 2 threads"] = ours(2, tmp_path, "envpool")
    rates: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(ROUNDS):
        for name, iterate in contenders.items():
            begin = time.perf_counter()
            iterate()
            rates[name].append(ENVS * TICKS / (time.perf_counter() - begin))
    medians = {name: float(np.median(rates[name][1:])) for name in rates}
    theirs_best = max(medians["sb3, DummyVecEnv"], medians["sb3, SubprocVecEnv"])
    table = Table("PPO on hopper", "steps a second", "× sb3's better", title=machine_line())
    for name, median in medians.items():
        table.add_row(name, f"{median:,.0f}", f"{median / theirs_best:.2f}")
    Console().print(table)
    assert max(medians["ours, serial"], medians["ours, 2 workers"]) >= 1.5 * theirs_best


def ours(workers: int, folder: Path, backend: Backend = "gymnasium") -> Callable[[], object]:
    """Return one iteration: collect, update, normalise."""
    config = gaussian_ppo.Config("hopper", folder, envs=ENVS, ticks=TICKS, workers=workers, backend=backend)
    envs = make_vector(HOPPER, ENVS, workers=workers, backend=backend)
    ppo = gaussian_ppo.start(config, HOPPER, envs, MlpConfig(11, 3, config.widths, clip=10.0)).ppo

    def iterate() -> None:
        rollout = ppo.collect()
        ppo.update(ppo.rows(rollout), 0.0)
        ppo.learn_scale(rollout.raw.flatten(0, 1))

    return iterate


def theirs(vector: type[DummyVecEnv] | type[SubprocVecEnv]) -> Callable[[], object]:
    """Return one iteration of stable-baselines3 with the same amount of work."""
    envs = VecNormalize(vector([lambda: FlatEnv(get("hopper")) for _ in range(ENVS)]))
    model = PPO(
        "MlpPolicy", envs, n_steps=TICKS, batch_size=256, n_epochs=10, device="cpu",
        policy_kwargs={"log_std_init": -1.0, "net_arch": [64, 64]},
    )  # fmt: skip
    return lambda: model.learn(ENVS * TICKS, reset_num_timesteps=False)


def alone(workers: int) -> Callable[[], object]:
    """Return as many environment steps with random actions."""
    envs, draws = make_vector(HOPPER, ENVS, workers=workers), np.random.default_rng(0)
    envs.reset()

    def iterate() -> None:
        for _ in range(TICKS):
            envs.step(draws.uniform(-1, 1, (ENVS, 3)).astype(np.float32))

    return iterate
