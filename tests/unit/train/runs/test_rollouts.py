"""Rollouts: parallel simulations change only the speed."""

from contextlib import closing

import numpy as np
import pytest
import torch
from torch import Tensor

from odeploy_sim.catalogue import get
from odeploy_sim.tasks.env import TaskEnv, episode_seed
from odeploy_train.runs.rollouts import Episodes, Rollouts, fresh_seed

MAZE = get("maze-medium")


def towards_goal(observation: Tensor) -> Tensor:
    """PD control without regard to walls: some episodes succeed early, the others last 400 ticks."""
    return torch.clamp(10 * (observation[:, 4:6] - observation[:, :2]) - observation[:, 2:4], -1, 1)


@pytest.mark.parametrize("parallel", [2, 9])
def test_any_number_of_parallel_simulations_plays_the_episodes_of_a_plain_loop(parallel: int) -> None:
    with closing(Rollouts(MAZE, parallel)) as rollouts:
        played = rollouts.play(towards_goal, seed=1, episodes=5)
        assert len(rollouts.envs) == min(parallel, 5)
    observations, returns, successes = [], [], []
    with closing(TaskEnv(MAZE)) as env:
        for episode in range(5):
            observation, total, done = env.reset(episode_seed(1, episode)), 0.0, False
            while not done:
                observations.append(observation)
                step = env.step(towards_goal(torch.from_numpy(observation[None])).numpy()[0])
                observation, total, done = step.observation, total + step.reward, step.done
            returns.append(total)
            successes.append(step.success)
    np.testing.assert_array_equal(played.observations.numpy(), np.stack(observations))
    assert played.returns.tolist() == returns
    assert played.successes.tolist() == successes
    assert 0 < sum(successes) < 5


def test_the_score_is_success_or_return_depending_on_the_task() -> None:
    episodes = Episodes(torch.zeros(1, 6), np.array([1.0, 4.0]), np.array([True, False]))
    assert episodes.score(MAZE) == "success 0.500 over 2 lockstep episodes"
    assert episodes.score(get("hopper")) == "return 2.5 ± 1.5 over 2 lockstep episodes"


def test_fresh_seeds_come_from_the_generator_and_exclude_small_numbers() -> None:
    seeds = [fresh_seed(torch.Generator().manual_seed(3)) for _ in range(2)]
    assert seeds[0] == seeds[1] >= 2**31
