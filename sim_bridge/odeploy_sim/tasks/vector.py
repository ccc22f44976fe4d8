"""Construction of vector environments: gymnasium or EnvPool, with workers."""

import os
from collections.abc import Mapping
from typing import Any, Literal, get_args

from odeploy_runtime.errors import UsageError
from odeploy_sim.tasks.task import Task
from odeploy_sim.tasks.vector_env import SerialVectorEnv, TaskVectorEnv
from odeploy_sim.tasks.vector_envpool import EnvpoolVectorEnv
from odeploy_sim.tasks.vector_worker import WorkerVectorEnv

Backend = Literal["gymnasium", "envpool"]


def make_vector(
    task: Task,
    envs: int,
    seed: int = 0,
    noise_level: float = 1.0,
    workers: int | None = None,
    *,
    backend: Backend = "gymnasium",
    **arguments: Any,
) -> TaskVectorEnv:
    """Return a vector of a task's simulations.

    Args:
        task: the task.
        envs: number of environments, N.
        seed: seed of the episodes until `reset` gives another one.
        noise_level: see `Task.noise`.
        workers: number of processes that share the environments; 0 steps them in this process. By default one for
            each core, at most one for each environment, and 0 for one core or one environment. Two workers for 8
            environments on two idle cores of an AMD EPYC stepped fetch-pick 1.76 times, hopper 1.06 times and
            halfcheetah 0.96 times as fast as none: they pay off where a step is expensive. For EnvPool it is the
            number of threads, at least 1.
        backend: gymnasium, which has every task, or EnvPool, an extra with some of them (see `vector_envpool`). On
            the same cores EnvPool stepped hopper 1.8, walker2d 1.3 and halfcheetah 1.15 times as fast as gymnasium
            with its best number of workers.
        arguments: keyword arguments of the environment that override the task's.

    Raises:
        UsageError: an unknown backend; a number of environments or workers, a noise level or a seed outside its
            range; a noise level or arguments for EnvPool.
        MissingError: EnvPool is not installed, or lacks the task.
        ContractError: the environment's sizes do not match the catalogue (RelayedError from a worker).
        WorkerError: a worker died during its start.
    """
    if backend not in get_args(Backend):
        raise UsageError(
            where=f"vector of {task.name}",
            expected=f"a backend: {' or '.join(get_args(Backend))}",
            got=repr(backend),
            remedy="choose one of them",
        )
    if envs < 1 or (workers is not None and not 0 <= workers <= envs):
        raise UsageError(
            where=f"vector of {task.name}",
            expected="at least one environment, and at most one worker for each",
            got=f"{envs} environments and {workers} workers",
            remedy="leave `workers` out, or choose it from 0 to the number of environments",
        )
    task.arguments(noise_level)  # rejects a level before processes are started for it
    if workers is None:
        cores = len(os.sched_getaffinity(0))
        workers = min(cores, envs) if cores > 1 and envs > 1 else 0
    if backend == "envpool":
        _check_as_catalogued(task, noise_level, arguments)
        return EnvpoolVectorEnv(task, envs, seed, threads=max(workers, 1))
    if workers == 0:
        return SerialVectorEnv(task, envs, seed, noise_level, arguments)
    return WorkerVectorEnv(task, envs, seed, noise_level, arguments, workers)


def _check_as_catalogued(task: Task, noise_level: float, arguments: Mapping[str, Any]) -> None:
    if noise_level != 1 or arguments:
        level = [f"noise level {noise_level:g}"] if noise_level != 1 else []
        raise UsageError(
            where=f"backend envpool for {task.name}",
            expected="the task as it is catalogued",
            got=", ".join([*level, *(f"{name}={value!r}" for name, value in arguments.items())]),
            remedy="leave that out, or the backend",
        )
