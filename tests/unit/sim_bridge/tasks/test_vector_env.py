"""The interface of a vector: types of ends, results without reuse, and asynchronous steps."""

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import numpy as np
import pytest
from gymnasium.error import AlreadyPendingCallError, NoAsyncCallError, ResetNeeded
from gymnasium.wrappers.vector import RecordEpisodeStatistics

from odeploy_runtime.errors import ContractError, UsageError
from odeploy_sim.catalogue.locomotion import HOPPER
from odeploy_sim.catalogue.manipulation import FETCH_REACH
from odeploy_sim.tasks.vector import make_vector
from odeploy_sim.tasks.vector_env import SerialVectorEnv, TaskVectorEnv
from tests.unit.sim_bridge.brittle import BRITTLE, push


@pytest.fixture(scope="module", params=[0, 2], ids=["serial", "2 workers"])
def shared(request: pytest.FixtureRequest) -> Iterator[TaskVectorEnv]:
    with closing(make_vector(BRITTLE, 3, workers=request.param)) as made:
        yield made


@pytest.fixture
def brittle(shared: TaskVectorEnv) -> TaskVectorEnv:
    shared.reset(seed=0)
    shared.invalid_episodes = 0
    return shared


def test_no_two_episodes_of_a_vector_have_the_same_start() -> None:
    with closing(make_vector(BRITTLE, 4, workers=0)) as vector:
        starts = [*vector.reset()[0][:, 0]]
        for _ in range(9):
            for _ in range(BRITTLE.horizon):
                observations, *_ = vector.step(push(0, 0, 0, 0))
            starts += [*observations[:, 0]]
    assert len(set(starts)) == 40


def test_a_reset_with_the_seed_restarts_and_one_without_continues() -> None:
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
        assert height_m < 0.7 or abs(pitch_rad) > 0.2  # Hopper-v5's conditions to terminate
        assert observations[i][0] > 1.2  # the next episode stands
    with closing(make_vector(FETCH_REACH, 2, workers=0)) as vector:
        vector.reset()
        for tick in range(1, FETCH_REACH.horizon + 1):
            _, _, terminated, truncated, info = vector.step(np.zeros((2, 4), np.float32))
            assert not terminated.any()
            assert truncated.all() == truncated.any() == ("final_obs" in info) == (tick == FETCH_REACH.horizon)


def test_the_final_observation_is_the_last_one_and_present_only_at_ends(brittle: TaskVectorEnv) -> None:
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


def test_a_broken_simulation_ends_only_its_own_episode_and_is_counted(brittle: TaskVectorEnv) -> None:
    first, _ = brittle.reset(seed=0)
    brittle.step(push(0.1, 0.1, 0.1))
    observations, rewards, terminated, truncated, info = brittle.step(push(0.1, 0.9, 0.1))
    for flags in (info["invalid"], terminated, info["_final_obs"], info["_episode"]):
        np.testing.assert_array_equal(flags, [False, True, False])
    assert not truncated.any()
    assert brittle.invalid_episodes == 1
    assert rewards[1] == 0
    np.testing.assert_array_equal(info["final_obs"][1], [first[1, 0], 1])  # the last good one
    assert info["final_obs"][0] is None
    np.testing.assert_array_equal(observations[:, 1], [2, 0, 2])
    np.testing.assert_array_equal(info["episode"]["l"], [0, 2, 0])
    assert not brittle.step(push(0.1, 0.1, 0.1))[4]["invalid"].any()


def test_a_state_that_mujoco_resets_is_reported_as_invalid() -> None:
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


def test_what_is_returned_is_not_overwritten_by_the_next_step(brittle: TaskVectorEnv) -> None:
    kept = brittle.reset()[0]
    copy = kept.copy()
    *arrays, info = brittle.step(push(0.1, 0.2, 0.3))
    copies = [a.copy() for a in (*arrays, info["success"])]
    brittle.step(push(0.9, 0.4, 0.4))
    np.testing.assert_array_equal(kept, copy)
    for array, was in zip((*arrays, info["success"]), copies, strict=True):
        np.testing.assert_array_equal(array, was)


def test_gymnasiums_statistics_report_the_same_episodes() -> None:
    with closing(make_vector(HOPPER, 3, seed=2, workers=0)) as plain:
        wrapped: Any = RecordEpisodeStatistics(make_vector(HOPPER, 3, seed=2, workers=0), stats_key="theirs")
        plain.reset()
        wrapped.reset()
        ends = 0
        for a in np.random.default_rng(5).uniform(-1.3, 1.3, (150, 3, 3)).astype(np.float32):
            *_, ours = plain.step(a)
            *_, theirs = wrapped.step(a)
            assert ("episode" in ours) == ("theirs" in theirs)
            if "episode" in ours:
                ends += 1
                np.testing.assert_allclose(ours["episode"]["r"], theirs["theirs"]["r"])
                np.testing.assert_array_equal(ours["episode"]["l"], theirs["theirs"]["l"])
        wrapped.close()
    assert ends > 3


def test_between_step_async_and_step_wait_other_calls_are_refused(brittle: TaskVectorEnv) -> None:
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


def test_actions_of_another_shape_are_refused_and_not_broadcast(brittle: TaskVectorEnv) -> None:
    with pytest.raises(ContractError, match=r"expected shape \(3, 1\), got \(1,\)"):
        brittle.step(np.zeros(1, np.float32))


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_a_seed_out_of_range_is_refused(seed: int) -> None:
    with pytest.raises(UsageError, match=f"got {seed}"):
        make_vector(BRITTLE, 1, seed=seed, workers=0)


def test_a_reset_with_options_is_refused_rather_than_ignored(brittle: TaskVectorEnv) -> None:
    with pytest.raises(UsageError, match="reset_mask"):
        brittle.reset(options={"reset_mask": np.ones(3, bool)})
