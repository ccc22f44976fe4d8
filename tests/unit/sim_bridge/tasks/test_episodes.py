"""Episodes in parallel equal those of a plain loop; a broken one is replaced by the next one."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import islice

import numpy as np
import pytest
from numpy.typing import NDArray

from odeploy_runtime.errors import ContractError
from odeploy_sim.tasks.env import TaskEnv, episode_seed
from odeploy_sim.tasks.episodes import RunningEpisode, Simulations, Start, lockstep, play, starts, valid
from tests.unit.sim_bridge.brittle import BREAK, BRITTLE, FRAGILE, FRAGILE_FROM

SEED = 1


@pytest.fixture
def envs() -> Iterator[list[TaskEnv]]:
    made = [TaskEnv(FRAGILE) for _ in range(3)]
    yield made
    for env in made:
        env.close()


def ages(running: Sequence[RunningEpisode]) -> NDArray[np.float32]:
    return np.array([[episode.observation[1] / 10] for episode in running], np.float32)


def breaks(number: int) -> bool:
    with closing(TaskEnv(FRAGILE)) as env:
        return bool(env.reset(episode_seed(SEED, number))[0] > FRAGILE_FROM)


def first_valid(episodes: int) -> list[int]:
    return list(islice((number for number in range(100) if not breaks(number)), episodes))


@pytest.mark.parametrize("parallel", [1, 2, 3])
def test_the_first_valid_episodes_of_a_seed_count_for_any_number_in_parallel(
    envs: list[TaskEnv], parallel: int
) -> None:
    expected = first_valid(6)
    played, invalid = valid(play(envs[:parallel], ages, SEED, 6))
    assert [trajectory.number for trajectory in played] == expected
    assert invalid == expected[-1] + 1 - 6 > 0


def test_a_trajectory_equals_that_of_a_plain_loop(envs: list[TaskEnv]) -> None:
    played, _ = valid(play(envs, ages, SEED, 4))
    env = envs[0]
    for trajectory in played:
        observations, rewards = [env.reset(episode_seed(SEED, trajectory.number))], []
        for tick, action in enumerate(trajectory.actions):
            assert action.tolist() == [np.float32(tick) / np.float32(10)]
            step = env.step(action)
            observations.append(step.observation)
            rewards.append(step.reward)
        assert step.truncated
        np.testing.assert_array_equal(trajectory.observations, observations)
        assert trajectory.rewards.tolist() == rewards
        assert trajectory.total == sum(rewards)
        assert (trajectory.terminated, trajectory.success, trajectory.invalid) == (False, False, False)


def test_a_broken_episode_is_yielded_with_its_flag(envs: list[TaskEnv]) -> None:
    broken = [trajectory for trajectory in play(envs, ages, SEED, 6) if trajectory.invalid]
    assert all(breaks(trajectory.number) for trajectory in broken)
    assert {len(trajectory.actions) for trajectory in broken} == {3}


def test_the_policy_answers_all_running_episodes_at_once_and_no_ended_one(envs: list[TaskEnv]) -> None:
    requests: list[list[tuple[int, int]]] = []

    def act(running: Sequence[RunningEpisode]) -> NDArray[np.float32]:
        requests.append([(episode.number, episode.tick) for episode in running])
        return ages(running)

    numbers = first_valid(2)
    start = iter([Start(number, episode_seed(SEED, number)) for number in numbers])
    assert len(list(lockstep(envs, act, lambda: next(start, None)))) == 2
    assert requests == [[(number, tick) for number in numbers] for tick in range(FRAGILE.horizon)]


def test_a_simulation_is_reset_only_after_its_last_trajectory_was_yielded(envs: list[TaskEnv]) -> None:
    for trajectory in islice(lockstep(envs[:1], ages, starts(SEED).__next__), 3):
        np.testing.assert_array_equal(envs[0].task.flatten(envs[0].raw), trajectory.observations[-1])


def test_a_simulation_that_always_breaks_is_an_error() -> None:
    def act(running: Sequence[RunningEpisode]) -> NDArray[np.float32]:
        return np.full((len(running), 1), BREAK + 0.1, np.float32)

    with closing(Simulations(BRITTLE, 2)) as simulations:
        with pytest.raises(ContractError, match="expected one that the simulation survives, got 100 in a row"):
            list(simulations.trajectories(act, SEED, 5))
        assert len(simulations.envs) == 2


def test_simulations_are_built_when_first_needed_and_kept() -> None:
    with closing(Simulations(FRAGILE, 4)) as simulations:
        assert len(list(simulations.trajectories(ages, SEED, 1))) >= 1
        assert len(simulations.envs) == 1
        first = simulations.envs[0]
        assert len(valid(simulations.trajectories(ages, SEED, 9))[0]) == 9
        assert simulations.envs[0] is first
        assert len(simulations.envs) == 4
