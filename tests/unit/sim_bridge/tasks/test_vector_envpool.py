"""EnvPool through our interface: gymnasium's dynamics, no tick lost or repeated, the same ends and seeds."""

import dataclasses
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium.error import AlreadyPendingCallError, ClosedEnvironmentError
from numpy.typing import NDArray

from odeploy_runtime.errors import ContractError
from odeploy_runtime.signals import highs, lows
from odeploy_sim.catalogue import TASKS
from odeploy_sim.catalogue.locomotion import HOPPER
from odeploy_sim.tasks.env import episode_seed
from odeploy_sim.tasks.task import Task
from odeploy_sim.tasks.vector import make_vector
from odeploy_sim.tasks.vector_env import Stepped, TaskVectorEnv
from odeploy_sim.tasks.vector_envpool import POOLS, EnvpoolVectorEnv

envpool = pytest.importorskip("envpool", reason="EnvPool is not installed: pip install 'odeploy[envpool]'")
pytestmark = pytest.mark.envpool

ENVS = 3
WITHOUT_NOISE = "halfcheetah", "hopper", "humanoid", "walker2d"  # have one start if asked for no noise
SHARED = pytest.mark.parametrize("task", [TASKS[name] for name in WITHOUT_NOISE], ids=WITHOUT_NOISE)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Change the working directory, where EnvPool's MuJoCo writes its warnings."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def vector() -> Iterator[TaskVectorEnv]:
    with closing(make_vector(HOPPER, ENVS, seed=3, backend="envpool")) as made:
        yield made


def actions_for(task: Task, ticks: int) -> NDArray[np.float32]:
    """Return random actions, some of them beyond the limits."""
    limit = 1.3 * highs(task.action)
    return np.random.default_rng(5).uniform(-limit, limit, (ticks, ENVS, len(task.action))).astype(np.float32)


def threads() -> int:
    return len(list(Path("/proc/self/task").iterdir()))


@SHARED
def test_sizes_limits_and_horizon_are_those_of_the_catalogue(task: Task) -> None:
    spec = envpool.make_spec(POOLS[task.name])
    assert POOLS[task.name] == task.gym_id
    assert spec.observation_space.shape == (len(task.observation),)
    np.testing.assert_array_equal(spec.action_space.low.astype(np.float32), lows(task.action))
    np.testing.assert_array_equal(spec.action_space.high.astype(np.float32), highs(task.action))
    assert spec.config.max_episode_steps == task.horizon


@SHARED
def test_whole_episodes_are_gymnasiums_bit_for_bit_from_the_same_starts(task: Task) -> None:
    same_start = dataclasses.replace(task, horizon=45, make_arguments={"reset_noise_scale": 0.0})
    ends = 0
    with (
        closing(make_vector(same_start, ENVS, workers=0)) as theirs,
        closing(EnvpoolVectorEnv(same_start, ENVS, seed=0, threads=2)) as ours,
    ):
        np.testing.assert_array_equal(ours.reset()[0], theirs.reset()[0])
        for actions in actions_for(task, 150):
            (o, r, *ended, info), (o_, r_, *ended_, info_) = ours.step(actions), theirs.step(actions)
            np.testing.assert_array_equal(o, o_)
            np.testing.assert_allclose(r, r_, rtol=1e-6, atol=1e-6)  # float32 in EnvPool, partly float32 here
            np.testing.assert_array_equal(ended, ended_)
            np.testing.assert_array_equal(info["success"], info_["success"])
            assert set(info) == set(info_)
            if "episode" in info:
                ends += int(info["_episode"].sum())
                np.testing.assert_array_equal(info["episode"]["l"], info_["episode"]["l"])
                np.testing.assert_allclose(info["episode"]["r"], info_["episode"]["r"], rtol=1e-5)
                for mine, its in zip(info["final_obs"], info_["final_obs"], strict=True):
                    np.testing.assert_array_equal(mine, its)
    assert ends >= 3 * ENVS  # at 45, 90 and 135 ticks, or sooner by falls


def test_episodes_equal_those_of_a_bare_envpool_with_its_own_resets() -> None:
    """A bare EnvPool draws its starts and spends a step on each reset; the ticks between resets are the same."""
    ticks, horizon = 400, 30
    actions = np.clip(actions_for(HOPPER, horizon), -1, 1)  # for environment i at tick t of each of its episodes
    with closing(
        make_vector(dataclasses.replace(HOPPER, horizon=horizon), ENVS, seed=3, backend="envpool")
    ) as ours:
        trails = [[o.tobytes()] for o in ours.reset()[0]]
        ages = np.zeros(ENVS, int)
        for _ in range(ticks):
            observations, rewards, _, _, info = ours.step(actions[ages, range(ENVS)])
            ages += 1
            for i, trail in enumerate(trails):
                final = info["final_obs"][i] if "final_obs" in info else None
                trail += [] if final is None else [final.tobytes(), float(rewards[i])]
                trail += [observations[i].tobytes()] + ([] if final is not None else [float(rewards[i])])
                ages[i] = 0 if final is not None else ages[i]
    pool = envpool.make_gymnasium(
        "Hopper-v5",
        num_envs=ENVS,
        seed=[episode_seed(3, i) >> 1 for i in range(ENVS)],
        max_episode_steps=horizon,
    )
    expected = [[o.astype(np.float32).tobytes()] for o in pool.reset()[0]]
    episodes, ages = 0, np.zeros(ENVS, int)
    for _ in range(ticks):
        observations, rewards, _, _, info = pool.step(actions[ages % horizon, range(ENVS)])
        ages = info["elapsed_step"]
        for i, trail in enumerate(expected):
            trail.append(observations[i].astype(np.float32).tobytes())
            trail += [float(rewards[i])] if ages[i] else []  # 0: a start, which takes a step in EnvPool
        episodes += int((ages == 0).sum())
    assert episodes > 5 * ENVS
    for mine, its in zip(trails, expected, strict=True):
        assert len(mine) > len(its) > ticks
        assert mine[: len(its)] == its


def first_fall(vector: TaskVectorEnv, ticks: int) -> tuple[int, Stepped]:
    """Return the first tick with an ended episode, counted from 1, and that step's results."""
    vector.reset(seed=3)
    for tick in range(1, ticks + 1):
        step = vector.step(np.ones((ENVS, 3), np.float32))
        if (step[2] | step[3]).any():
            return tick, step
    raise AssertionError("no hopper fell")


def test_a_fall_is_a_termination_even_on_the_last_tick(vector: TaskVectorEnv) -> None:
    tick, (observations, _, terminated, truncated, info) = first_fall(vector, 200)
    i = int(np.argmax(terminated))
    assert not truncated.any()
    height_m, pitch_rad = info["final_obs"][i][:2]
    assert height_m < 0.7 or abs(pitch_rad) > 0.2  # Hopper-v5's conditions to terminate
    assert observations[i][0] > 1.2  # the next episode stands
    with closing(make_vector(dataclasses.replace(HOPPER, horizon=tick), ENVS, backend="envpool")) as cut:
        same_tick, (_, _, fell, reached, _) = first_fall(cut, 200)
    assert same_tick == tick
    np.testing.assert_array_equal(fell, terminated)
    assert reached.all()


def test_an_action_that_breaks_a_simulation_ends_only_its_episode(vector: TaskVectorEnv) -> None:
    vector.reset()
    idle = np.zeros((ENVS, 3), np.float32)
    before, *_ = vector.step(idle)
    breaking = idle.copy()
    breaking[1] = np.nan
    observations, rewards, terminated, truncated, info = vector.step(breaking)
    for flags in (info["invalid"], terminated, info["_final_obs"], info["_episode"]):
        np.testing.assert_array_equal(flags, [False, True, False])
    assert not truncated.any()
    assert vector.invalid_episodes == 1
    assert np.isfinite(rewards).all()
    assert rewards[1] == 0
    np.testing.assert_array_equal(info["final_obs"][1], before[1])  # the last good one
    np.testing.assert_array_equal(info["episode"]["l"], [0, 2, 0])
    assert np.abs(observations[1][1:]).max() <= 0.005  # Hopper-v5's range of starts about 0; all except the height
    assert np.abs(observations[0][1:]).max() > 0.02
    after = vector.step(idle)
    assert np.isfinite(after[0]).all()
    assert not after[4]["invalid"].any()


def played(seed: int, workers: int) -> list[bytes]:
    with closing(make_vector(HOPPER, ENVS, seed=seed, workers=workers, backend="envpool")) as made:
        trail = [made.reset()[0].tobytes()]
        for actions in actions_for(HOPPER, 80):
            trail += [array.tobytes() for array in made.step(actions)[:4]]
        return trail


def test_every_bit_depends_on_the_seed_and_not_on_the_number_of_threads() -> None:
    assert played(1, workers=1) == played(1, workers=2)
    assert played(1, workers=1) != played(2, workers=1)


def test_neighbouring_seeds_share_no_start() -> None:
    starts = set()
    for seed in range(4):
        with closing(make_vector(HOPPER, ENVS, seed=seed, backend="envpool")) as made:
            starts |= {start.tobytes() for start in made.reset()[0]}
    assert len(starts) == 4 * ENVS


def test_a_reset_with_the_seed_restarts_and_one_without_continues(vector: TaskVectorEnv) -> None:
    first, second = vector.reset()[0], vector.reset()[0]
    for actions in actions_for(HOPPER, 80):  # enough for some episodes to end
        vector.step(actions)
    np.testing.assert_array_equal(vector.reset(seed=3)[0], first)
    np.testing.assert_array_equal(vector.reset()[0], second)
    others = vector.reset(seed=2**64 - 1)[0]
    assert len({start.tobytes() for start in (*first, *second, *others)}) == 3 * ENVS


def test_between_step_async_and_step_wait_a_reset_is_refused(vector: TaskVectorEnv) -> None:
    idle = np.zeros((ENVS, 3), np.float32)
    vector.reset()
    whole, *_ = vector.step(idle)
    vector.reset(seed=3)
    vector.step_async(idle)
    with pytest.raises(AlreadyPendingCallError):
        vector.reset()
    np.testing.assert_array_equal(vector.step_wait()[0], whole)


@pytest.mark.parametrize("pending", [False, True])
def test_closing_ends_the_threads(pending: bool) -> None:
    before = threads()
    made = make_vector(HOPPER, ENVS, workers=2, backend="envpool")
    made.reset()
    if pending:
        made.step_async(np.zeros((ENVS, 3), np.float32))
    assert threads() > before
    made.close()
    assert threads() == before


def test_ctrl_c_during_a_step_closes_the_vector(vector: TaskVectorEnv, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(**_: Any) -> None:
        raise KeyboardInterrupt

    assert isinstance(vector, EnvpoolVectorEnv)
    vector.reset()
    vector.step_async(np.zeros((ENVS, 3), np.float32))
    with monkeypatch.context() as patched:
        patched.setattr(vector._pool, "recv", interrupted)
        with pytest.raises(KeyboardInterrupt):
            vector.step_wait()
    with pytest.raises(ClosedEnvironmentError):
        vector.step_wait()


def test_a_task_of_other_sizes_is_refused() -> None:
    with pytest.raises(ContractError, match="expected 2 actions and 11 observations"):
        make_vector(
            dataclasses.replace(HOPPER, action=HOPPER.action[:2], safe_action=(0.0, 0.0)), 2, backend="envpool"
        )
