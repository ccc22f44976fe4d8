"""A task's simulation depends only on its seed; a broken one ends its episode with a flag."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from odeploy_runtime.errors import ContractError
from odeploy_runtime.signals import Signal
from odeploy_sim.catalogue.locomotion import HOPPER
from odeploy_sim.catalogue.mazes import MAZE_MEDIUM
from odeploy_sim.tasks.env import Step, TaskEnv, episode_seed


@pytest.mark.parametrize(
    ("terminated", "truncated", "done"),
    [(False, False, False), (True, False, True), (False, True, True), (True, True, True)],
)
def test_an_episode_is_done_when_terminated_or_truncated(terminated: bool, truncated: bool, done: bool) -> None:
    assert Step(np.zeros(1, np.float32), 0.0, terminated, truncated, False).done == done


def test_an_environment_with_other_sizes_than_in_the_catalogue_is_refused() -> None:
    task = dataclasses.replace(HOPPER, action=(*HOPPER.action, Signal("wing", "1", -1, 1)), safe_action=())
    with pytest.raises(ContractError, match="expected 4 actions and 11 observations") as raised:
        TaskEnv(task)
    assert raised.value.where == "task hopper"


def test_the_same_seed_gives_the_same_episode_bit_for_bit(env: TaskEnv) -> None:
    action = np.full(len(env.task.action), 0.3, np.float32)

    def play(seed: int) -> list[bytes]:
        return [env.reset(seed).tobytes(), *(env.step(action).observation.tobytes() for _ in range(5))]

    assert play(3) == play(3)
    assert play(3)[0] != play(4)[0]


def test_observations_and_steps_have_the_sizes_and_types_of_the_protocol(env: TaskEnv) -> None:
    observation = env.reset(0)
    step = env.step(np.array(env.task.safe_action, np.float32))
    for sensed in (observation, step.observation):
        assert sensed.shape == (len(env.task.observation),)
        assert sensed.dtype == np.float32
    assert type(step.reward) is float
    assert {type(step.terminated), type(step.truncated), type(step.success)} == {bool}
    np.testing.assert_array_equal(env.task.flatten(env.raw), step.observation)


def test_an_episode_is_truncated_at_the_horizon() -> None:
    env = TaskEnv(dataclasses.replace(MAZE_MEDIUM, horizon=7))
    env.reset(1)
    steps = [env.step(np.zeros(2, np.float32)) for _ in range(7)]
    env.close()
    assert [step.truncated for step in steps] == [False] * 6 + [True]


def test_a_state_that_mujoco_resets_ends_the_episode_as_invalid_and_is_counted() -> None:
    env = TaskEnv(HOPPER)
    env.reset(1)
    good = env.step(np.zeros(3, np.float32)).observation
    env.env.unwrapped.data.qvel[2] = np.nan  # type: ignore[attr-defined]
    broken = env.step(np.zeros(3, np.float32))  # MuJoCo resets the state: its output is finite again
    assert (broken.invalid, broken.terminated, broken.truncated, broken.success) == (True, True, False, False)
    assert (broken.reward, env.invalid_episodes) == (0.0, 1)
    np.testing.assert_array_equal(broken.observation, good)
    env.reset(1)
    assert not env.step(np.zeros(3, np.float32)).invalid
    env.close()
    assert env.invalid_episodes == 1


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_non_finite_action_breaks_the_episode_and_no_file_is_written(
    bad: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # where MuJoCo would write a MUJOCO_LOG.TXT
    env = TaskEnv(HOPPER)
    env.reset(1)
    assert env.step(np.array([0, bad, 0], np.float32)).invalid
    env.close()
    assert list(tmp_path.iterdir()) == []


def test_the_noise_level_is_passed_to_the_environment() -> None:
    for level, spread in ((0.0, 0.0), (1.0, 0.25), (1.5, 0.375)):
        env = TaskEnv(MAZE_MEDIUM, noise_level=level)
        assert env.env.unwrapped.position_noise_range == spread  # type: ignore[attr-defined]
        env.close()


def test_episode_seeds_of_different_runs_differ() -> None:
    seeds = {episode_seed(seed, episode) for seed in range(60) for episode in range(60)}
    assert len(seeds) == 3600
    assert episode_seed(0, 1) != episode_seed(1, 0)
    assert all(0 <= seed < 2**32 for seed in seeds)


def test_episode_seeds_never_change() -> None:
    """Recorded once: results of another release stay comparable."""
    assert [episode_seed(1, 0), episode_seed(1, 1), episode_seed(2, 0)] == [1835504127, 1189033389, 2834126987]
