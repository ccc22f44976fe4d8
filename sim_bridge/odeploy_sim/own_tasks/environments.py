"""Simulations of a task for other training libraries, by its reference."""

from odeploy_sim.own_tasks.reference import resolve
from odeploy_sim.tasks.gym_env import FlatEnv
from odeploy_sim.tasks.task import Task
from odeploy_sim.tasks.vector import Backend, make_vector
from odeploy_sim.tasks.vector_env import TaskVectorEnv


def make_env(task: Task | str, *, noise_level: float = 1.0) -> FlatEnv:
    """Return a task as a gymnasium environment with flat float32 observations.

    Args:
        task: the task, or how a command line names it.
        noise_level: see `Task.noise`.
    """
    return FlatEnv(resolve(task), noise_level)


def make_vector_env(
    task: Task | str,
    envs: int,
    *,
    seed: int = 0,
    noise_level: float = 1.0,
    workers: int | None = None,
    backend: Backend = "gymnasium",
) -> TaskVectorEnv:
    """Return a vector of a task's simulations.

    Args:
        task: the task, or how a command line names it.
        envs: number of environments.
        seed: seed of the episodes until `reset` gives another one.
        noise_level: see `Task.noise`.
        workers: number of worker processes; 0 steps all environments here, None takes one for each core.
        backend: `gymnasium`, or the extra `envpool`.
    """
    return make_vector(resolve(task), envs, seed, noise_level, workers, backend=backend)
