"""The expert of the kitchen: each sub-task alone."""

import numpy as np
import pytest

from odeploy_sim.catalogue.kitchen import SUBTASKS, kitchen
from odeploy_sim.experts.kitchen import KitchenExpert
from odeploy_sim.tasks.env import Step, TaskEnv, episode_seed
from tests.thorough import mostly_thorough


def play(env: TaskEnv, expert: KitchenExpert, seed: int) -> list[Step]:
    observation, steps = env.reset(seed), list[Step]()
    while not steps or not steps[-1].done:
        action = expert(observation)
        assert action.shape == (9,)
        assert action.dtype == np.float32
        assert (np.abs(action) <= 1).all()
        steps.append(env.step(action))
        observation = steps[-1].observation
    return steps


@pytest.mark.parametrize("subtask", mostly_thorough(SUBTASKS, 2))
def test_each_subtask_is_done_in_a_first_and_in_a_second_episode(subtask: str) -> None:
    env = TaskEnv(kitchen([subtask]))
    expert = KitchenExpert(env)
    for episode in range(2):
        steps = play(env, expert, episode_seed(2, episode))
        assert steps[-1].success
        assert not steps[-1].invalid
    env.close()


def test_an_unfinished_episode_does_not_affect_the_next_one() -> None:
    env = TaskEnv(kitchen(["kettle"]))
    expert = KitchenExpert(env)

    def actions() -> list[bytes]:
        observation, seen = env.reset(3), list[bytes]()
        for _ in range(30):
            action = expert(observation)
            observation = env.step(action).observation
            seen.append(action.tobytes())
        return seen

    assert actions() == actions()
    env.close()
