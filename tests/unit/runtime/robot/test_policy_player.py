"""A policy file played without a loop: actions, chunks, episodes and wrong observations."""

from pathlib import Path

import numpy as np
import pytest

from odeploy_runtime.errors import ContractError, UsageError
from odeploy_runtime.inference.noise import NoiseSource
from odeploy_runtime.robot.chunk_playback import ChunkOptions
from odeploy_runtime.robot.policy_player import PolicyPlayer, load_policy
from tests.unit.runtime.fakes import FakePolicy, manifest
from tests.unit.runtime.scaled_policy import scaled_bytes

VALUES = [1.0, 2.0, 3.0]


def test_a_file_acts_at_once(tmp_path: Path) -> None:
    path = tmp_path / "p.onnx"
    path.write_bytes(scaled_bytes(0.5))
    player = load_policy(path)
    np.testing.assert_array_equal(player.act(VALUES), [0.5, 1.0])
    np.testing.assert_array_equal(player.infer(VALUES), [[0.5, 1.0]])
    assert player.manifest.name == "scale-0.5"
    with pytest.raises(UsageError, match="from 1 to 1"):
        load_policy(path, execute=2)


def test_each_tick_and_each_episode_has_its_own_noise() -> None:
    policy = FakePolicy()
    noise = NoiseSource(policy.manifest.noise, 7)
    player = PolicyPlayer(policy, seed=7)
    sensed = np.array(VALUES, np.float32)
    for episode in range(2):
        for tick in range(3):
            expected = policy.infer(sensed, noise.draw(episode, tick))[0].copy()
            np.testing.assert_array_equal(player.act(VALUES), expected)
        player.reset()
    player.reset(0)
    np.testing.assert_array_equal(player.act(VALUES), policy.infer(sensed, noise.draw(0, 0))[0])


def test_a_chunk_is_played_before_the_next_is_computed() -> None:
    policy = FakePolicy(manifest(horizon=3, golden=()))
    policy.answer = np.arange(6, dtype=np.float32).reshape(3, 2)
    player = PolicyPlayer(policy, options=ChunkOptions(execute=2))
    played = [player.act(VALUES).tolist() for _ in range(4)]
    assert played == [[0, 1], [2, 3], [0, 1], [2, 3]]
    assert policy.inferred == 2
    np.testing.assert_array_equal(player.infer(VALUES), policy.answer)


def test_an_observation_of_another_size_or_with_nan_is_refused() -> None:
    player = PolicyPlayer(FakePolicy())
    with pytest.raises(ContractError, match=r"3 numbers, x to speed, got an array of shape \(2,\)"):
        player.act([1.0, 2.0])
    with pytest.raises(ContractError, match="observation, signal y: expected a finite number"):
        player.act([1.0, float("nan"), 2.0])
