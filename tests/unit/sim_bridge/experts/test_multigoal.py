"""The expert of multigoal: it always arrives, reaches every goal, and its choice depends on the seed."""

from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from odeploy_sim.catalogue.multigoal import MULTIGOAL
from odeploy_sim.environments.multigoal import goal_at
from odeploy_sim.experts.multigoal import MultigoalExpert
from odeploy_sim.tasks.env import TaskEnv, episode_seed


@pytest.fixture(scope="module", params=[0.0, 1.0])
def env(request: pytest.FixtureRequest) -> Iterator[TaskEnv]:
    made = TaskEnv(MULTIGOAL, noise_level=request.param)
    yield made
    made.close()


def play(env: TaskEnv, expert: MultigoalExpert, seed: int) -> tuple[bool, NDArray[np.float32], int]:
    """Play an episode; return success, path (T + 1, 2) and goal."""
    path, done = [env.reset(seed)], False
    while not done:
        action = expert(path[-1])
        assert action.shape == (2,)
        assert action.dtype == np.float32
        assert np.linalg.norm(action) <= 1 + 1e-6
        step = env.step(action)
        path.append(step.observation)
        done = step.done
    return step.success, np.array(path), goal_at(path[-1])


def test_it_reaches_a_goal_in_all_of_100_episodes_and_each_goal_gets_its_share(env: TaskEnv) -> None:
    expert = MultigoalExpert(env)
    played = [play(env, expert, episode_seed(0, i)) for i in range(100)]
    assert all(success for success, _, _ in played)
    shares = Counter(goal for _, _, goal in played)
    assert set(shares) == {0, 1, 2, 3}
    # 25 expected for each, standard deviation 4.3
    assert all(12 <= share <= 38 for share in shares.values())


def test_it_goes_straight(env: TaskEnv) -> None:
    expert = MultigoalExpert(env)
    for seed in range(8):
        _, path, _ = play(env, expert, seed)
        length = np.linalg.norm(np.diff(path, axis=0), axis=1).sum()
        assert length == pytest.approx(np.linalg.norm(path[-1] - path[0]), rel=1e-3)


def test_the_goal_depends_only_on_the_episodes_seed(env: TaskEnv) -> None:
    expert = MultigoalExpert(env)
    forwards = [play(env, expert, seed)[2] for seed in range(12)]
    backwards = [play(env, expert, seed)[2] for seed in reversed(range(12))]
    assert forwards == backwards[::-1]
    assert len(set(forwards)) == 4


def test_from_one_start_it_takes_four_directions() -> None:
    env = TaskEnv(MULTIGOAL, noise_level=0)
    expert = MultigoalExpert(env)
    ways = {tuple(np.round(expert(env.reset(seed)), 6).tolist()) for seed in range(40)}
    env.close()
    assert ways == {(1, 0), (0, 1), (-1, 0), (0, -1)}
