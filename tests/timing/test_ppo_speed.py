"""Environment steps a second of whole PPO iterations on hopper, in turn in one run, against stable-baselines3.

Same sizes: 8 environments, 512 ticks, 10 epochs, batch 256, two hidden layers of 64; collecting and updating.
Wanted: at least 1.5 times stable-baselines3 with the better of its vectors.
"""

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

from runtime.machine import machine_line
from sim_bridge.catalogue import get
from sim_bridge.flat_env import FlatEnv
from sim_bridge.vector import make_vector
from train import gaussian_ppo
from train.mlp_policy import MlpConfig

ENVS, TICKS, ROUNDS = 8, 512, 6
HOPPER = get("hopper")


@pytest.mark.timing
@pytest.mark.timeout(400)
def test_ppo_outruns_that_of_stable_baselines3(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    contenders = {
        "ours, serial": ours(0, tmp_path),
        "ours, 2 workers": ours(2, tmp_path),
        "sb3, DummyVecEnv": theirs(DummyVecEnv),
        "sb3, SubprocVecEnv": theirs(SubprocVecEnv),
    }
    rates: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(ROUNDS):
        for name, iterate in contenders.items():
            begin = time.perf_counter()
            iterate()
            rates[name].append(ENVS * TICKS / (time.perf_counter() - begin))
    medians = {name: float(np.median(rates[name][1:])) for name in rates}
    table = Table("PPO on hopper", "steps a second", title=machine_line())
    for name, median in medians.items():
        table.add_row(name, f"{median:,.0f}")
    Console().print(table)
    assert max(medians["ours, serial"], medians["ours, 2 workers"]) >= 1.5 * max(
        medians["sb3, DummyVecEnv"], medians["sb3, SubprocVecEnv"]
    )


def ours(workers: int, folder: Path) -> Callable[[], object]:
    """One iteration: collect, update, normalise."""
    config = gaussian_ppo.Config("hopper", folder, envs=ENVS, ticks=TICKS, workers=workers)
    envs = make_vector(HOPPER, ENVS, workers=workers)
    ppo = gaussian_ppo.start(config, HOPPER, envs, MlpConfig(11, 3, config.widths, clip=10.0)).ppo

    def iterate() -> None:
        rollout = ppo.collect()
        ppo.update(ppo.rows(rollout), 0.0)
        ppo.learn_scale(rollout.raw.flatten(0, 1))

    return iterate


def theirs(vector: type[DummyVecEnv] | type[SubprocVecEnv]) -> Callable[[], object]:
    """The same amount of work."""
    envs = VecNormalize(vector([lambda: FlatEnv(get("hopper")) for _ in range(ENVS)]))
    model = PPO(
        "MlpPolicy", envs, n_steps=TICKS, batch_size=256, n_epochs=10, device="cpu",
        policy_kwargs={"log_std_init": -1.0, "net_arch": [64, 64]},
    )  # fmt: skip
    return lambda: model.learn(ENVS * TICKS, reset_num_timesteps=False)
