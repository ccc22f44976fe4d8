"""Environment steps a second of every task's vectors, in turn in one run, against stable-baselines3 and EnvPool.

`make bench` runs it; for chosen tasks, `pytest -m timing -s tests/timing/test_vector_env.py -k 'hopper or maze'`.
All have 8 environments and the same actions, drawn beforehand and uniform within the limits; resets are included.
EnvPool takes part if it is installed and has the task: through our interface, and bare, where every start of an
episode counts as a step.
"""

import importlib
import importlib.util
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial

import numpy as np
import pytest
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecEnv

from odeploy_runtime.realtime.machine import machine_line
from odeploy_sim.catalogue import TASKS
from odeploy_sim.tasks.gym_env import FlatEnv
from odeploy_sim.tasks.task import Task
from odeploy_sim.tasks.vector import make_vector
from odeploy_sim.tasks.vector_envpool import POOLS

ENVS, ROUNDS, ROUND_S = 8, 9, 0.3
WORKERS = {"serial": 0, "1 worker": 1, f"{min(os.cpu_count() or 1, ENVS)} workers": min(os.cpu_count() or 1, ENVS)}
COLUMNS = (*WORKERS, "sb3 Dummy", "sb3 Subproc", "EnvPool", "EnvPool bare")
Steps = Callable[[NDArray[np.float32]], object]


@pytest.fixture(scope="module")
def table() -> Iterator[Table]:
    made = Table("task", *COLUMNS, title=f"environment steps a second, {ENVS} environments, {machine_line()}")
    yield made
    Console(width=120).print(made)


@pytest.mark.timing
@pytest.mark.timeout(400)
@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
def test_our_fastest_vector_has_at_least_nine_tenths_of_stable_baselines3s_speed(task: Task, table: Table) -> None:
    space = FlatEnv(task).action_space
    space.seed(0)
    actions = np.stack([[space.sample() for _ in range(ENVS)] for _ in range(200)])
    with ExitStack() as stack:
        contenders = contenders_for(task, stack)
        rates: dict[str, list[float]] = {name: [] for name in contenders}
        for _ in range(ROUNDS):
            for name, step in contenders.items():
                rates[name].append(rate(step, actions))
    medians = {name: float(np.median(rates[name])) for name in rates}
    table.add_row(task.name, *(f"{medians[c]:,.0f}" if c in medians else absent() for c in COLUMNS))
    ours = max(medians[name] for name in WORKERS)
    assert ours > 0.9 * max(
        medians["sb3 Dummy"], medians["sb3 Subproc"]
    )  # in slow simulations the vector makes no difference


def contenders_for(task: Task, stack: ExitStack) -> dict[str, Steps]:
    """Return a step function of each vector, after its reset; the stack closes them."""
    contenders: dict[str, Steps] = {}
    for name, workers in WORKERS.items():
        ours = make_vector(task, ENVS, workers=workers)
        stack.callback(ours.close)
        ours.reset()
        contenders[name] = ours.step
    makers = [partial(FlatEnv, task) for _ in range(ENVS)]
    theirs: dict[str, Callable[[], VecEnv]] = {
        "sb3 Dummy": lambda: DummyVecEnv([*makers]),
        "sb3 Subproc": lambda: SubprocVecEnv([*makers]),
    }
    for name, make in theirs.items():
        vec_env = make()
        stack.callback(vec_env.close)
        vec_env.reset()
        contenders[name] = vec_env.step
    if task.name in POOLS and importlib.util.find_spec("envpool") is not None:
        ours = make_vector(task, ENVS, backend="envpool")
        stack.callback(ours.close)
        ours.reset()
        contenders["EnvPool"] = ours.step
        threads = min(len(os.sched_getaffinity(0)), ENVS)
        envpool = importlib.import_module("envpool")
        pool = envpool.make_gymnasium(POOLS[task.name], num_envs=ENVS, num_threads=threads, seed=0)
        pool.reset()
        contenders["EnvPool bare"] = pool.step
    return contenders


def rate(step: Steps, actions: NDArray[np.float32]) -> float:
    """Return the environment steps a second over one round."""
    begin, calls = time.perf_counter(), 0
    while (elapsed_s := time.perf_counter() - begin) < ROUND_S:
        step(actions[calls % len(actions)])
        calls += 1
    return calls * ENVS / elapsed_s


def absent() -> str:
    return "not installed" if importlib.util.find_spec("envpool") is None else "–"
