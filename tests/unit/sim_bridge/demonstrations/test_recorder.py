"""Recording: executed actions are recorded, and an episode depends only on seed and number."""

import dataclasses
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from rich.console import Console

from odeploy_runtime.errors import ContractError
from odeploy_sim.catalogue.mazes import MAZE_MEDIUM
from odeploy_sim.demonstrations.card import ExpertCard
from odeploy_sim.demonstrations.dataset import Episode
from odeploy_sim.demonstrations.demonstrator import demonstrator
from odeploy_sim.demonstrations.expert import Demonstrator
from odeploy_sim.demonstrations.quality import Region
from odeploy_sim.demonstrations.recorder import Collected, Size, Wanted, gather, record
from odeploy_sim.experts import EXPERTS, Expert
from odeploy_sim.tasks.env import TaskEnv, episode_seed

SHORT_MAZE = dataclasses.replace(MAZE_MEDIUM, horizon=8)


@pytest.fixture(scope="module")
def short_maze() -> Iterator[TaskEnv]:
    made = TaskEnv(SHORT_MAZE)
    yield made
    made.close()


def acting(begin: Callable[[int], Expert]) -> Demonstrator:
    return Demonstrator(ExpertCard("scripted", "test", "0" * 64), begin)


def played(env: TaskEnv, seed: int = 3, std: float = 0.5, noise_seed: int = 0) -> Episode:
    episode = record(env, demonstrator(env, None, 0), 0, seed, std, np.random.default_rng(noise_seed))
    assert episode is not None
    return episode


def gathered(env: TaskEnv, wanted: Wanted, expert: Demonstrator | None = None) -> Collected:
    return gather(env, expert or demonstrator(env, None, 0), wanted, Console(quiet=True))


def same(one: Episode, other: Episode) -> bool:
    return one.seed == other.seed and np.array_equal(one.actions, other.actions)


def breaking(odd: bool) -> Demonstrator:
    """Return a demonstrator with NaN commands in every episode, or in every other one."""

    def begin(number: int) -> Expert:
        value = np.nan if odd <= number % 2 else 0.5
        return lambda _: np.full(2, value, np.float32)

    return acting(begin)


def test_an_episode_has_one_observation_more_than_actions_and_one_reward_each(short_maze: TaskEnv) -> None:
    episode = played(short_maze)
    assert len(episode.observations) == 9
    assert episode.actions.shape == (8, 2)
    assert episode.rewards.shape == (8,)
    assert (episode.seed, episode.terminated) == (3, False)


def test_replaying_the_recorded_actions_gives_the_same_observations(
    short_maze: TaskEnv,
) -> None:
    episode = played(short_maze, std=2.0)
    assert (np.abs(episode.actions) <= 1).all()
    assert (np.abs(episode.actions) == 1).any()
    np.testing.assert_array_equal(short_maze.reset(episode.seed), SHORT_MAZE.flatten(episode.observations[0]))
    for action, after, reward in zip(episode.actions, episode.observations[1:], episode.rewards, strict=True):
        step = short_maze.step(action)
        np.testing.assert_array_equal(step.observation, SHORT_MAZE.flatten(after))
        assert step.reward == reward


def test_without_noise_recorded_actions_are_the_experts(short_maze: TaskEnv) -> None:
    episode, expert = played(short_maze, std=0.0), EXPERTS[short_maze.task.name](short_maze)
    for raw, action in zip(episode.observations, episode.actions, strict=False):
        np.testing.assert_array_equal(action, expert(SHORT_MAZE.flatten(raw)))


def test_the_noise_has_the_given_standard_deviation(short_maze: TaskEnv) -> None:
    still = acting(lambda _: lambda _: np.zeros(2, np.float32))
    actions = np.concatenate([e.actions for e in gathered(short_maze, Wanted(Size(300), 0, 0.2), still).episodes])
    assert actions.std() == pytest.approx(0.2, rel=0.05)
    assert abs(actions.mean()) < 0.01


def test_an_episode_depends_only_on_seed_and_noise(short_maze: TaskEnv) -> None:
    assert same(played(short_maze), played(short_maze))
    assert not same(played(short_maze), played(short_maze, noise_seed=1))
    assert not same(played(short_maze), played(short_maze, seed=4))


def test_recorded_observations_and_actions_are_copies_that_later_ticks_do_not_change(short_maze: TaskEnv) -> None:
    buffer = np.zeros(2, np.float32)

    def act(observation: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> Expert:
        buffer[:] += 0.1  # like a policy that reuses one output buffer
        return buffer  # type: ignore[return-value]

    episode = record(short_maze, acting(lambda _: act), 0, 3, 0.0, np.random.default_rng())  # type: ignore[arg-type, return-value]
    assert episode is not None
    flat = np.array([SHORT_MAZE.flatten(raw) for raw in episode.observations])
    assert len(np.unique(flat, axis=0)) == len(flat)
    np.testing.assert_allclose(episode.actions[:, 0], 0.1 * np.arange(1, 9), rtol=1e-5)


def test_a_broken_episode_is_none(short_maze: TaskEnv) -> None:
    assert record(short_maze, breaking(False), 0, 3, 0.0, np.random.default_rng()) is None


def test_broken_episodes_are_counted_and_dropped(short_maze: TaskEnv) -> None:
    kept = gathered(short_maze, Wanted(Size(3), 0), breaking(True))
    assert kept.invalid == 2
    assert [e.seed for e in kept.episodes] == [episode_seed(0, number) for number in (0, 2, 4)]
    assert all(np.isfinite(e.actions).all() for e in kept.episodes)


def test_gathering_ends_with_an_error_after_100_dropped_episodes_in_a_row(short_maze: TaskEnv) -> None:
    with pytest.raises(ContractError, match="100 in a row to drop; so far 0 failed, 100 broke"):
        gathered(short_maze, Wanted(Size(1), 0), breaking(False))
    idle = acting(lambda _: lambda _: np.zeros(2, np.float32))
    with pytest.raises(ContractError, match="100 failed, 0 broke"):
        gathered(short_maze, Wanted(Size(50), 0, successes_only=True), idle)


def test_a_larger_dataset_begins_with_the_smaller_one(short_maze: TaskEnv) -> None:
    small, large = (gathered(short_maze, Wanted(Size(n), 5, 0.3)).episodes for n in (2, 5))
    assert len(large) == 5
    assert all(map(same, small, large))


def test_transitions_are_collected_in_whole_episodes_until_there_are_enough(short_maze: TaskEnv) -> None:
    episodes = gathered(short_maze, Wanted(Size(20, "transitions"), 0)).episodes
    ticks = np.cumsum([len(e.actions) for e in episodes])
    assert ticks[-2] < 20 <= ticks[-1]


def test_the_dataset_of_a_region_is_a_subset_of_the_whole_dataset(short_maze: TaskEnv) -> None:
    whole = gathered(short_maze, Wanted(Size(40), 0, 0.5)).episodes
    right = Region(True, "the right half", lambda observation: bool(observation[4] > 0))
    part = gathered(short_maze, Wanted(Size(10), 0, 0.5, right)).episodes
    expected = [e for e in whole if SHORT_MAZE.flatten(e.observations[0])[4] > 0][:10]
    assert all(map(same, part, expected))


def test_a_region_of_final_observations_is_checked_at_the_end(short_maze: TaskEnv) -> None:
    whole = gathered(short_maze, Wanted(Size(40), 0, 0.5)).episodes
    moved = Region(False, "those that move right", lambda observation: bool(observation[2] > 0))
    part = gathered(short_maze, Wanted(Size(8), 0, 0.5, moved)).episodes
    expected = [e for e in whole if SHORT_MAZE.flatten(e.observations[-1])[2] > 0][:8]
    assert all(map(same, part, expected))


def test_failures_are_kept_except_with_successes_only() -> None:
    env = TaskEnv(dataclasses.replace(MAZE_MEDIUM, horizon=60))
    everything = gathered(env, Wanted(Size(40), 0)).episodes
    assert {e.success for e in everything} == {True, False}
    solved = [e for e in everything if e.success]
    kept = gathered(env, Wanted(Size(len(solved)), 0, successes_only=True))
    env.close()
    assert all(map(same, kept.episodes, solved))
    last = everything.index(solved[-1])
    assert kept.failures == last + 1 - len(solved)
