"""Episodes in parallel equal episodes one after another, whichever run together."""

import dataclasses
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from odeploy_runtime.errors import ContractError
from odeploy_runtime.policy_file.file import PolicyFile, read
from odeploy_runtime.robot.chunk_playback import ChunkOptions
from odeploy_sim.bench.batched_policy import FileScorer
from odeploy_sim.catalogue import get
from odeploy_sim.catalogue.mazes import MAZE_MEDIUM
from odeploy_sim.demonstrations.policy_player import player
from odeploy_sim.demonstrations.recorder import record
from odeploy_sim.tasks.env import TaskEnv, episode_seed
from tests.chunk_flow import chunk_file
from tests.policies import policy_path

TASK = dataclasses.replace(get("multigoal-2d"), horizon=12)
SEED, EPISODES = 3, 5


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> PolicyFile:
    return read(policy_path(tmp_path_factory.mktemp("scorer"), TASK, "flow"))


@pytest.fixture(scope="module")
def scorer() -> Iterator[FileScorer]:
    with closing(FileScorer(TASK, parallel=2)) as made:
        yield made


def one_by_one(path: Path, options: ChunkOptions) -> list[float]:
    demonstrator, unused = player(read(path), TASK, SEED, options), np.random.default_rng(0)
    returns = []
    with closing(TaskEnv(TASK)) as env:
        for number in range(EPISODES):
            episode = record(env, demonstrator, number, episode_seed(SEED, number), 0.0, unused)
            assert episode is not None
            returns.append(float(episode.rewards.sum()))
    return returns


def test_every_episode_has_the_resets_and_the_noise_of_its_number(file: PolicyFile, scorer: FileScorer) -> None:
    ended: list[int] = []
    played = scorer.play(file, SEED, EPISODES, ChunkOptions(), lambda: ended.append(1))
    # Rounding at another batch size adds up over twelve ticks.
    np.testing.assert_allclose(played.returns, one_by_one(file.path, ChunkOptions()), rtol=1e-4)
    assert (len(ended), played.invalid, len(played.successes)) == (EPISODES, 0, EPISODES)


def test_a_second_file_in_the_same_simulations_gets_the_same_episodes(
    file: PolicyFile, scorer: FileScorer
) -> None:
    first, again = (scorer.play(file, SEED, EPISODES, ChunkOptions()).returns for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, scorer.play(file, SEED + 1, EPISODES, ChunkOptions()).returns)


@pytest.mark.thorough
def test_chunks_in_parallel_equal_chunks_one_after_another(tmp_path: Path, scorer: FileScorer) -> None:
    path, options = chunk_file(tmp_path, TASK, 4), ChunkOptions(execute=3)
    played = scorer.play(read(path), SEED, EPISODES, options)
    np.testing.assert_allclose(played.returns, one_by_one(path, options), rtol=1e-4)


def test_another_tasks_file_and_a_frozen_one_are_refused(tmp_path: Path, scorer: FileScorer) -> None:
    other = read(policy_path(tmp_path, MAZE_MEDIUM, "flow"))
    with pytest.raises(ContractError, match="observation"):
        scorer.play(other, SEED, 1, ChunkOptions())
    frozen = read(chunk_file(tmp_path, TASK, 4, frozen=1))
    with pytest.raises(ContractError, match="expected a policy that depends on the present observation only"):
        scorer.play(frozen, SEED, 1, ChunkOptions())
