"""Selection of a vector, equal bits from all of them, and refused arguments."""

import dataclasses
import os
import re
import sys
from contextlib import closing
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from odeploy_runtime.errors import MissingError, UsageError
from odeploy_sim.catalogue import get
from odeploy_sim.catalogue.locomotion import HOPPER
from odeploy_sim.catalogue.manipulation import FETCH_REACH
from odeploy_sim.catalogue.mazes import MAZE_MEDIUM
from odeploy_sim.tasks.env import TaskEnv, episode_seed
from odeploy_sim.tasks.task import NoiseScale, Task
from odeploy_sim.tasks.vector import make_vector
from odeploy_sim.tasks.vector_env import TaskVectorEnv
from odeploy_sim.tasks.vector_worker import WorkerVectorEnv
from tests.thorough import mostly_thorough
from tests.unit.sim_bridge.brittle import BRITTLE


def actions_for(task: Task, ticks: int, envs: int) -> NDArray[np.float32]:
    """Return random actions, some of them beyond the limits."""
    return np.random.default_rng(5).uniform(-1.3, 1.3, (ticks, envs, len(task.action))).astype(np.float32)


def played(vector: TaskVectorEnv, actions: NDArray[np.float32]) -> list[bytes]:
    """Return everything that a vector returned, as bytes."""
    with closing(vector):
        trail = [vector.reset()[0].tobytes()]
        for a in actions:
            *arrays, info = vector.step(a)
            final = [f for f in info.get("final_obs", ()) if f is not None]
            trail += [x.tobytes() for x in (*arrays, info["success"], info["invalid"], *final)]
            if "episode" in info:
                trail += [info["episode"]["r"].tobytes(), info["episode"]["l"].tobytes()]
    return trail


def played_by_hand(task: Task, envs: int, seed: int, actions: NDArray[np.float32]) -> list[bytes]:
    """Return the same from single environments, in a plain loop."""
    singles = [TaskEnv(task) for _ in range(envs)]
    low, high = (np.array([getattr(s, end) for s in task.action], np.float32) for end in ("low", "high"))
    trail = [np.stack([e.reset(episode_seed(seed, i)) for i, e in enumerate(singles)]).tobytes()]
    episodes, returns, lengths = [0] * envs, [0.0] * envs, [0] * envs
    for row in actions:
        steps = [e.step(np.minimum(np.maximum(a, low), high)) for e, a in zip(singles, row, strict=True)]
        observations, final, r, ticks = [], [], np.zeros(envs), np.zeros(envs, np.int64)
        for i, step in enumerate(steps):
            returns[i] += step.reward
            lengths[i] += 1
            observations.append(step.observation)
            if step.done:
                r[i], ticks[i] = returns[i], lengths[i]
                returns[i], lengths[i], episodes[i] = 0.0, 0, episodes[i] + 1
                final.append(step.observation)
                observations[i] = singles[i].reset(episode_seed(seed, episodes[i] * envs + i))
        columns = [[s.reward for s in steps]]
        columns += [[getattr(s, k) for s in steps] for k in ("terminated", "truncated", "success", "invalid")]
        trail += [x.tobytes() for x in (np.stack(observations), *map(np.array, columns), *final)]
        trail += [r.tobytes(), ticks.tobytes()] if final else []
    for single in singles:
        single.close()
    return trail


@pytest.mark.parametrize(
    ("task", "ticks"),
    mostly_thorough([(HOPPER, 120), (dataclasses.replace(MAZE_MEDIUM, horizon=70), 160), (FETCH_REACH, 60)]),
    ids=lambda x: x.name if isinstance(x, Task) else "",
)
def test_serial_and_workers_and_a_loop_by_hand_agree_bit_for_bit_across_episodes(task: Task, ticks: int) -> None:
    actions = actions_for(task, ticks, 3)
    expected = played_by_hand(task, 3, 7, actions)
    assert len(expected) > 1 + 6 * ticks  # episodes ended
    assert played(make_vector(task, 3, seed=7, workers=0), actions) == expected
    assert played(make_vector(task, 3, seed=7, workers=2), actions) == expected


def test_another_seed_gives_other_bits() -> None:
    actions = actions_for(HOPPER, 3, 2)
    assert played(make_vector(HOPPER, 2, seed=1, workers=0), actions) != played(
        make_vector(HOPPER, 2, seed=2, workers=0), actions
    )


@pytest.mark.parametrize(("cores", "envs", "workers"), [(1, 4, 0), (2, 1, 0), (2, 4, 2), (4, 2, 2)])
def test_the_number_of_workers_follows_cores_and_environments(
    monkeypatch: pytest.MonkeyPatch, cores: int, envs: int, workers: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)))
    with closing(make_vector(BRITTLE, envs)) as vector:
        assert len(vector.workers if isinstance(vector, WorkerVectorEnv) else []) == workers


@pytest.mark.parametrize(("envs", "workers"), [(0, 0), (2, 3), (2, -1)])
def test_invalid_numbers_are_refused(envs: int, workers: int) -> None:
    with pytest.raises(UsageError, match="at most one worker for each"):
        make_vector(BRITTLE, envs, workers=workers)


def test_an_unknown_backend_is_refused() -> None:
    name: Any = "isaac"
    with pytest.raises(UsageError, match="expected a backend: gymnasium or envpool, got 'isaac'"):
        make_vector(HOPPER, 2, backend=name)


def test_envpool_refuses_arguments_and_names_them() -> None:
    with pytest.raises(UsageError, match=r"as it is catalogued, got reset_noise_scale=0\.1;"):
        make_vector(HOPPER, 2, backend="envpool", reset_noise_scale=0.1)


def test_envpool_refuses_a_noise_level_even_for_a_task_with_noise() -> None:
    noisy = dataclasses.replace(HOPPER, noise=NoiseScale("reset_noise_scale", 5e-3, 2.0, "the start"))
    with pytest.raises(UsageError, match=r"as it is catalogued, got noise level 0\.5;"):
        make_vector(noisy, 2, noise_level=0.5, backend="envpool")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("multigoal-2d", "EnvPool has no such task"),
        ("hand-rotate", "EnvPool has other ranges of starts and goals"),
        ("kitchen:microwave+kettle", r"EnvPool's MuJoCo 3\.6 resolves its contacts differently from 3\.8"),
    ],
)
def test_a_task_that_envpool_does_not_step_as_ours_is_refused_with_the_reason(name: str, reason: str) -> None:
    named = re.escape(name)
    with pytest.raises(MissingError, match=rf"expected one of .*halfcheetah.*, got {named}: {reason}") as caught:
        make_vector(get(name), 2, backend="envpool")
    assert caught.value.remedy == "leave the backend out"


def test_without_envpool_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "envpool", None)
    with pytest.raises(MissingError, match=r"run: pip install 'odeploy\[envpool\]'"):
        make_vector(HOPPER, 2, backend="envpool")
