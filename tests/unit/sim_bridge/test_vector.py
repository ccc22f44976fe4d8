"""Vectors: the same bits however they are stepped, ends told apart, nothing hangs, and nobody is left behind."""

import dataclasses
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.error import AlreadyPendingCallError, ClosedEnvironmentError, NoAsyncCallError, ResetNeeded
from gymnasium.spaces import Box
from gymnasium.wrappers.vector import RecordEpisodeStatistics
from numpy.typing import NDArray

from runtime.errors import ContractError, OdeployError, RelayedError, UsageError
from runtime.signals import Signal
from sim_bridge.catalogue.fm_irl import FETCH_REACH, HOPPER, MAZE_MEDIUM
from sim_bridge.task import Task, TaskEnv, episode_seed
from sim_bridge.vector import make_vector
from sim_bridge.vector_env import SerialVectorEnv, TaskVectorEnv
from sim_bridge.vector_worker import WorkerVectorEnv

BREAK, DIE = 0.5, -0.5


class BrittleEnv(gymnasium.Env[NDArray[np.float64], NDArray[np.float32]]):
    """Observes its start and its age; an action beyond BREAK gives NaN, one beyond DIE ends the process."""

    observation_space = Box(-np.inf, np.inf, (2,), np.float64)
    action_space = Box(-1, 1, (1,), np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float64], dict[str, Any]]:
        super().reset(seed=seed)
        self.state = np.array([self.np_random.random(), 0.0])
        return self.state.copy(), {}

    def step(self, action: NDArray[np.float32]) -> tuple[NDArray[np.float64], float, bool, bool, dict[str, Any]]:
        if action[0] < DIE:
            os._exit(3)
        self.state[1] += np.nan if action[0] > BREAK else 1
        return self.state.copy(), float(action[0]), False, False, {}


BRITTLE = Task(
    name="brittle",
    gym_id="test/Brittle-v0",
    entry_point=f"{__name__}:BrittleEnv",
    summary="",
    observation=(Signal("start", "1"), Signal("age", "tick")),
    action=(Signal("push", "1", -1.0, 1.0),),
    rate_hz=10.0,
    physics_step_s=None,
    horizon=5,
    safe_action=(0.0,),
    paper="",
    differs="",
)


def push(*values: float) -> NDArray[np.float32]:
    return np.array(values, np.float32)[:, None]


def with_workers() -> WorkerVectorEnv:
    made = make_vector(BRITTLE, 3, workers=2)
    assert isinstance(made, WorkerVectorEnv)
    return made


@pytest.fixture
def doomed() -> Iterator[WorkerVectorEnv]:
    with closing(with_workers()) as made:
        made.reset()
        yield made


@pytest.fixture(scope="module")
def shared() -> Iterator[WorkerVectorEnv]:
    with closing(with_workers()) as made:
        yield made


@pytest.fixture
def brittle(shared: WorkerVectorEnv) -> WorkerVectorEnv:
    shared.reset(seed=0)
    shared.invalid_episodes = 0
    return shared


def living(vector: WorkerVectorEnv) -> int:
    return len({w.process.pid for w in vector.workers} & {p.pid for p in multiprocessing.active_children()})


def actions_for(task: Task, ticks: int, envs: int) -> NDArray[np.float32]:
    """Some of them beyond the limits."""
    return np.random.default_rng(5).uniform(-1.3, 1.3, (ticks, envs, len(task.action))).astype(np.float32)


def played(vector: TaskVectorEnv, actions: NDArray[np.float32]) -> list[bytes]:
    """All that a vector returned, bit for bit."""
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
    """The same from single environments, in a loop of its own."""
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
    [(dataclasses.replace(MAZE_MEDIUM, horizon=70), 160), (HOPPER, 120), (FETCH_REACH, 60)],
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


def test_no_two_episodes_of_a_vector_begin_alike() -> None:
    with closing(make_vector(BRITTLE, 4, workers=0)) as vector:
        starts = [*vector.reset()[0][:, 0]]
        for _ in range(9):
            for _ in range(BRITTLE.horizon):
                observations, *_ = vector.step(push(0, 0, 0, 0))
            starts += [*observations[:, 0]]
    assert len(set(starts)) == 40


def test_a_reset_with_the_seed_begins_anew_and_one_without_goes_on() -> None:
    with closing(make_vector(BRITTLE, 2, seed=4, workers=0)) as vector:
        first, second = vector.reset()[0], vector.reset()[0]
        again = vector.reset(seed=4)[0]
        assert (first[:, 0] != second[:, 0]).all()
        np.testing.assert_array_equal(again, first)
        np.testing.assert_array_equal(vector.reset()[0], second)
        assert (vector.reset(seed=5)[0][:, 0] != first[:, 0]).all()


def test_a_fall_is_a_termination_and_the_horizon_a_truncation() -> None:
    with closing(make_vector(HOPPER, 2, workers=0)) as vector:
        vector.reset()
        while True:
            observations, _, terminated, truncated, info = vector.step(np.ones((2, 3), np.float32))
            if terminated.any():
                break
        i = int(np.argmax(terminated))
        assert not truncated.any()
        height_m, pitch_rad = info["final_obs"][i][:2]
        assert height_m < 0.7 or abs(pitch_rad) > 0.2  # Hopper-v5's own reasons to end
        assert observations[i][0] > 1.2  # the next episode stands
    with closing(make_vector(FETCH_REACH, 2, workers=0)) as vector:
        vector.reset()
        for tick in range(1, FETCH_REACH.horizon + 1):
            _, _, terminated, truncated, info = vector.step(np.zeros((2, 4), np.float32))
            assert not terminated.any()
            assert truncated.all() == truncated.any() == ("final_obs" in info) == (tick == FETCH_REACH.horizon)


def test_the_final_observation_is_the_last_one_and_comes_only_at_ends(brittle: WorkerVectorEnv) -> None:
    first, _ = brittle.reset(seed=0)
    for tick in range(1, 5):
        observations, *_, info = brittle.step(push(0.1, 0.2, 0.3))
        np.testing.assert_array_equal(observations, np.stack([first[:, 0], np.full(3, tick)], axis=1))
        assert set(info) == {"success", "_success", "invalid", "_invalid"}
    observations, _, _, truncated, info = brittle.step(push(0.1, 0.2, 0.3))
    assert truncated.all()
    np.testing.assert_array_equal(np.stack(info["final_obs"]), np.stack([first[:, 0], np.full(3, 5)], axis=1))
    assert (observations[:, 1] == 0).all()
    np.testing.assert_allclose(info["episode"]["r"], [0.5, 1.0, 1.5], rtol=1e-6)
    np.testing.assert_array_equal(info["episode"]["l"], [5, 5, 5])


def test_a_broken_simulation_ends_its_own_episode_alone_and_is_counted(brittle: WorkerVectorEnv) -> None:
    first, _ = brittle.reset(seed=0)
    brittle.step(push(0.1, 0.1, 0.1))
    observations, rewards, terminated, truncated, info = brittle.step(push(0.1, 0.9, 0.1))
    for told in (info["invalid"], terminated, info["_final_obs"], info["_episode"]):
        np.testing.assert_array_equal(told, [False, True, False])
    assert not truncated.any()
    assert brittle.invalid_episodes == 1
    assert rewards[1] == 0
    np.testing.assert_array_equal(info["final_obs"][1], [first[1, 0], 1])  # the last good one
    assert info["final_obs"][0] is None
    np.testing.assert_array_equal(observations[:, 1], [2, 0, 2])
    np.testing.assert_array_equal(info["episode"]["l"], [0, 2, 0])
    assert not brittle.step(push(0.1, 0.1, 0.1))[4]["invalid"].any()


def test_a_state_that_mujoco_gives_up_on_is_told_as_invalid() -> None:
    with closing(make_vector(HOPPER, 2, workers=0)) as vector:
        assert isinstance(vector, SerialVectorEnv)
        vector.reset()
        inside: Any = vector._block._envs[1].env.unwrapped
        inside.data.qvel[0] = np.nan
        observations, _, terminated, _, info = vector.step(np.zeros((2, 3), np.float32))
        np.testing.assert_array_equal(info["invalid"], [False, True])
        np.testing.assert_array_equal(terminated, [False, True])
        assert np.isfinite(observations).all()
        assert np.isfinite(info["final_obs"][1]).all()
        assert not vector.step(np.zeros((2, 3), np.float32))[4]["invalid"].any()


def test_what_is_returned_is_not_overwritten_by_the_next_step(brittle: WorkerVectorEnv) -> None:
    kept = brittle.reset()[0]
    copy = kept.copy()
    *arrays, info = brittle.step(push(0.1, 0.2, 0.3))
    copies = [a.copy() for a in (*arrays, info["success"])]
    brittle.step(push(0.9, 0.4, 0.4))
    np.testing.assert_array_equal(kept, copy)
    for array, was in zip((*arrays, info["success"]), copies, strict=True):
        np.testing.assert_array_equal(array, was)


def test_gymnasiums_own_statistics_see_the_same_episodes() -> None:
    with closing(make_vector(HOPPER, 3, seed=2, workers=0)) as plain:
        wrapped: Any = RecordEpisodeStatistics(make_vector(HOPPER, 3, seed=2, workers=0), stats_key="theirs")
        plain.reset()
        wrapped.reset()
        ends = 0
        for a in actions_for(HOPPER, 150, 3):
            *_, ours = plain.step(a)
            *_, theirs = wrapped.step(a)
            assert ("episode" in ours) == ("theirs" in theirs)
            if "episode" in ours:
                ends += 1
                np.testing.assert_allclose(ours["episode"]["r"], theirs["theirs"]["r"])
                np.testing.assert_array_equal(ours["episode"]["l"], theirs["theirs"]["l"])
        wrapped.close()
    assert ends > 3


def test_a_caller_is_free_between_the_two_halves_of_a_step(brittle: WorkerVectorEnv) -> None:
    brittle.step_async(push(0.1, 0.2, 0.3))
    with pytest.raises(AlreadyPendingCallError):
        brittle.step_async(push(0.1, 0.2, 0.3))
    with pytest.raises(AlreadyPendingCallError):
        brittle.reset()
    np.testing.assert_allclose(brittle.step_wait()[1], [0.1, 0.2, 0.3], rtol=1e-6)
    with pytest.raises(NoAsyncCallError):
        brittle.step_wait()


def test_a_step_before_the_first_reset_is_refused() -> None:
    with closing(make_vector(BRITTLE, 3, workers=0)) as vector, pytest.raises(ResetNeeded):
        vector.step(push(0, 0, 0))


def test_actions_of_another_shape_are_refused_and_not_broadcast(brittle: WorkerVectorEnv) -> None:
    with pytest.raises(ContractError, match=r"expected shape \(3, 1\), got \(1,\)"):
        brittle.step(np.zeros(1, np.float32))


@pytest.mark.parametrize(("cores", "envs", "workers"), [(1, 4, 0), (2, 1, 0), (2, 4, 2), (4, 2, 2)])
def test_workers_are_as_many_as_cores_and_environments_allow(
    monkeypatch: pytest.MonkeyPatch, cores: int, envs: int, workers: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)))
    with closing(make_vector(BRITTLE, envs)) as vector:
        assert len(vector.workers if isinstance(vector, WorkerVectorEnv) else []) == workers


@pytest.mark.parametrize(("envs", "workers"), [(0, 0), (2, 3), (2, -1)])
def test_numbers_that_make_no_sense_are_refused(envs: int, workers: int) -> None:
    with pytest.raises(UsageError, match="at most one worker for each"):
        make_vector(BRITTLE, envs, workers=workers)


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_a_seed_out_of_range_is_refused(seed: int) -> None:
    with pytest.raises(UsageError, match=f"got {seed}"):
        make_vector(BRITTLE, 1, seed=seed, workers=0)


def test_a_reset_with_options_is_refused_rather_than_ignored(brittle: WorkerVectorEnv) -> None:
    with pytest.raises(UsageError, match="reset_mask"):
        brittle.reset(options={"reset_mask": np.ones(3, bool)})


def test_what_a_worker_has_against_its_task_is_said_here() -> None:
    before = multiprocessing.active_children()
    with pytest.raises(RelayedError, match="expected 2 actions and 2 observations"):
        make_vector(dataclasses.replace(BRITTLE, action=(*BRITTLE.action, Signal("pull", "1"))), 2, workers=1)
    assert set(multiprocessing.active_children()) == set(before)


@pytest.mark.parametrize("when", ["between steps", "during a step"])
def test_a_killed_worker_is_an_error_and_not_a_hang(doomed: WorkerVectorEnv, when: str) -> None:
    if when == "during a step":
        doomed.step_async(push(0, 0, -0.9))
        with pytest.raises(OdeployError, match=r"worker 1 of 3 × brittle: .* its exit with 3"):
            doomed.step_wait()
    else:
        os.kill(doomed.workers[0].process.pid or 0, signal.SIGKILL)
        doomed.workers[0].process.join()
        with pytest.raises(OdeployError, match=r"worker 0 of 3 × brittle: .* its death by SIGKILL"):
            doomed.step(push(0, 0, 0))
    assert living(doomed) == 0
    with pytest.raises(ClosedEnvironmentError):
        doomed.step(push(0, 0, 0))


def test_workers_do_not_feel_ctrl_c(brittle: WorkerVectorEnv) -> None:
    for worker in brittle.workers:
        os.kill(worker.process.pid or 0, signal.SIGINT)
    brittle.step(push(0, 0, 0))
    assert all(worker.process.is_alive() for worker in brittle.workers)


@pytest.mark.parametrize("pending", [False, True])
def test_closing_leaves_no_process(doomed: WorkerVectorEnv, pending: bool) -> None:
    if pending:
        doomed.step_async(push(0, 0, 0))
    assert living(doomed) == 2
    doomed.close()
    assert living(doomed) == 0
    assert [worker.process.exitcode for worker in doomed.workers] == [0, 0]


PARENT = """
import sys, time
from sim_bridge.catalogue.fm_irl import HOPPER
from sim_bridge.vector import make_vector

vector = make_vector(HOPPER, 2, workers=2)
vector.reset()
print(*(worker.process.pid for worker in vector.workers), flush=True)
time.sleep(60)
"""


def test_workers_die_with_a_parent_that_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(pids) == 2
        assert all(alive(pid) for pid in pids)
        parent.kill()
    deadline = time.monotonic() + 20
    while any(alive(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not any(alive(pid) for pid in pids)


def alive(pid: int) -> bool:
    """Whether it runs; one that is dead and waits to be collected does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
