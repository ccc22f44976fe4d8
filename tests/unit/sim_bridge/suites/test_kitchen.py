"""The flat kitchen: the original's values without its dictionaries, and sub-tasks that count once."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium_robotics.envs.franka_kitchen import KitchenEnv
from gymnasium_robotics.envs.franka_kitchen.kitchen_env import OBS_ELEMENT_GOALS, OBS_ELEMENT_INDICES
from numpy.typing import NDArray

from odeploy_sim.catalogue.kitchen import SUBTASKS, kitchen
from odeploy_sim.suites.kitchen import FlatKitchenEnv
from odeploy_sim.tasks.env import TaskEnv

STILL = np.zeros(9, np.float32)
NAMES = [name.replace("-", " ") for name in SUBTASKS]


@pytest.fixture(scope="module")
def env() -> Iterator[FlatKitchenEnv]:
    made = FlatKitchenEnv(NAMES)
    yield made
    made.close()


@pytest.fixture(scope="module")
def task_env() -> Iterator[TaskEnv]:
    made = TaskEnv(kitchen())
    yield made
    made.close()


def complete(data: mujoco.MjData, subtask: str) -> None:
    """Put the joints of a sub-task at its goal."""
    data.qpos[OBS_ELEMENT_INDICES[subtask]] = OBS_ELEMENT_GOALS[subtask]


@pytest.mark.filterwarnings("ignore:.*Box observation space (min|max)imum value:UserWarning")
def test_gymnasiums_checker_passes_except_for_missing_limits(env: FlatKitchenEnv) -> None:
    check_env(env, skip_render_check=True)


def test_observations_rewards_and_ends_are_the_originals(env: FlatKitchenEnv) -> None:
    original, generator = KitchenEnv(), np.random.default_rng(0)
    np.testing.assert_array_equal(env.reset(seed=4)[0], original.reset(seed=4)[0]["observation"])
    for _ in range(5):
        action = generator.uniform(-1, 1, 9).astype(np.float32)
        ours, theirs = env.step(action), original.step(action)
        np.testing.assert_array_equal(ours[0], theirs[0]["observation"])
        assert ours[1:4] == theirs[1:4]
    original.close()


def test_each_completed_subtask_counts_once_and_the_last_one_ends_the_episode(env: FlatKitchenEnv) -> None:
    env.reset(seed=0)
    rewards, last = [], len(NAMES) - 1
    for i, subtask in enumerate(NAMES):
        complete(env.data, subtask)
        _, reward, terminated, _, info = env.step(STILL)
        assert info["step_task_completions"] == [subtask]
        assert info["episode_task_completions"] == NAMES[: i + 1]
        assert terminated == info["success"] == (i == last)
        if i != last:
            reward += env.step(STILL)[1]
        rewards.append(reward)
    assert rewards == [1.0] * 7


def test_a_subtask_outside_the_choice_earns_nothing() -> None:
    env = FlatKitchenEnv(["microwave", "kettle"])
    env.reset(seed=0)
    gained = []
    for subtask in ("slide cabinet", "kettle", "light switch", "microwave"):
        complete(env.data, subtask)
        _, reward, terminated, _, info = env.step(STILL)
        gained.append((reward, terminated, info["success"]))
    env.close()
    assert gained == [(0, False, False), (1, False, False), (0, False, False), (1, True, True)]


def test_a_returned_list_of_completions_is_unchanged_by_the_next_reset(env: FlatKitchenEnv) -> None:
    env.reset(seed=0)
    complete(env.data, "microwave")
    completions = env.step(STILL)[4]["episode_task_completions"]
    env.reset(seed=0)
    assert completions == ["microwave"]
    assert env.step(STILL)[4]["episode_task_completions"] == []


def test_standing_still_completes_nothing_and_the_episode_is_truncated_at_280_ticks(task_env: TaskEnv) -> None:
    task_env.reset(1)
    steps = [task_env.step(STILL) for _ in range(280)]
    assert [step.truncated for step in steps] == [False] * 279 + [True]
    assert not any(step.terminated or step.success or step.invalid for step in steps)
    assert sum(step.reward for step in steps) == 0


def sensed(noise: float, seed: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the observation of a reset, and the true state."""
    env = FlatKitchenEnv(["kettle"], noise)
    observation, _ = env.reset(seed=seed)
    q, v = env.data.qpos, env.data.qvel
    truth = np.concatenate([q[:9], v[:9], q[9:], v[9:]])
    env.close()
    return observation, truth


def test_the_level_scales_the_noise_of_all_sensors_and_0_has_none() -> None:
    clean, truth = sensed(0, 5)
    np.testing.assert_array_equal(clean, truth)
    once, twice = sensed(1, 5)[0] - truth, sensed(2, 5)[0] - truth
    np.testing.assert_allclose(twice, 2 * once, rtol=1e-6, atol=1e-12)
    assert (once != 0).all()
    assert np.abs(once[:18]).max() < 0.1 * 0.01  # rad, m: the amplitude in the robot's configuration
    assert np.abs(once[18:]).max() < 0.1 * 0.0005


def test_the_same_seed_and_commands_give_the_same_episode_bit_for_bit(task_env: TaskEnv) -> None:
    commands = np.random.default_rng(1).uniform(-1, 1, (10, 9)).astype(np.float32)

    def play(env: TaskEnv, seed: int) -> list[bytes]:
        return [env.reset(seed).tobytes(), *(env.step(command).observation.tobytes() for command in commands)]

    first = play(task_env, 7)
    other = TaskEnv(kitchen())
    assert play(other, 7) == first == play(task_env, 7)
    assert play(task_env, 8) != first
    other.close()


def test_a_broken_simulation_is_detected(
    task_env: TaskEnv, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)  # MuJoCo writes a log into the working directory
    inside: Any = task_env.env.unwrapped
    before = task_env.reset(0)
    inside.data.qvel[20] = np.inf
    step = task_env.step(STILL)
    assert (step.invalid, step.reward, step.done) == (True, 0.0, True)
    np.testing.assert_array_equal(step.observation, before)
    assert np.isfinite(task_env.reset(0)).all()
    assert not task_env.step(STILL).invalid
