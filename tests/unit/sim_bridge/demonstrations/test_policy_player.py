"""A file played in process: chunks and noise are the same as through a server."""

from pathlib import Path

import numpy as np
import pytest

from odeploy_runtime.errors import ContractError, UsageError
from odeploy_runtime.inference.noise import NoiseSource
from odeploy_runtime.inference.onnx_policy import OnnxPolicy
from odeploy_runtime.inference.previous_chunk import PreviousChunk
from odeploy_runtime.policy_file.file import read
from odeploy_runtime.robot.chunk_playback import ChunkOptions
from odeploy_sim.catalogue.locomotion import HOPPER
from odeploy_sim.catalogue.mazes import MAZE_MEDIUM
from odeploy_sim.demonstrations.policy_player import player
from tests.chunk_flow import chunk_file
from tests.policies import policy_path, recorded

OBSERVATIONS = recorded(MAZE_MEDIUM, rows=12)
SEED, D = 3, 2


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return chunk_file(tmp_path_factory.mktemp("player"), MAZE_MEDIUM, 8, frozen=D)


def test_by_default_the_first_action_of_each_answer_is_played(tmp_path: Path) -> None:
    path = policy_path(tmp_path, MAZE_MEDIUM, "flow")
    policy = OnnxPolicy.load(path)
    noise = NoiseSource(policy.manifest.noise, SEED)
    act = player(read(path), MAZE_MEDIUM, SEED, ChunkOptions()).begin(4)
    for tick, observation in enumerate(OBSERVATIONS):
        np.testing.assert_array_equal(act(observation), policy.infer(observation, noise.draw(4, tick))[0])


def test_a_chunk_continues_the_previous_one_and_repeats_its_frozen_actions(file: Path) -> None:
    policy = OnnxPolicy.load(file)
    noise, continuation = NoiseSource(policy.manifest.noise, SEED), PreviousChunk()
    act = player(read(file), MAZE_MEDIUM, SEED, ChunkOptions(execute=4, ahead=D)).begin(0)
    expected, chunk = [], np.zeros((8, 2), np.float32)
    for tick, observation in enumerate(OBSERVATIONS):
        before = chunk
        if tick % 4 == 0:
            policy.previous[:], policy.frozen[:] = continuation.before(0, 0, tick)
            chunk = policy.infer(observation, noise.draw(0, tick)).copy()
            continuation.commit(0, 0, tick, chunk, D)
            if tick:
                np.testing.assert_array_equal(chunk[:D], before[4 : 4 + D])
        expected.append(chunk[tick % 4])
    np.testing.assert_array_equal([act(observation) for observation in OBSERVATIONS], expected)


def test_an_episode_begins_with_a_reset_state(file: Path) -> None:
    options = ChunkOptions(execute=2, blend=0.1)
    demonstrator = player(read(file), MAZE_MEDIUM, SEED, options)
    first = [demonstrator.begin(1)(OBSERVATIONS[0]).copy() for _ in range(2)]
    act = demonstrator.begin(0)
    for observation in OBSERVATIONS:
        act(observation)
    np.testing.assert_array_equal([*first, demonstrator.begin(1)(OBSERVATIONS[0])], [first[0]] * 3)


def test_another_tasks_file_and_more_actions_than_its_horizon_are_refused(file: Path) -> None:
    with pytest.raises(ContractError, match="observation"):
        player(read(file), HOPPER, 0, ChunkOptions())
    with pytest.raises(UsageError, match="--execute"):
        player(read(file), MAZE_MEDIUM, 0, ChunkOptions(execute=9))
