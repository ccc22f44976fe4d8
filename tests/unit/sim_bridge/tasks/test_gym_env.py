"""The flat environment follows gymnasium's interface and `TaskEnv`'s values."""

import numpy as np
import pytest
from gymnasium.spaces import Box
from gymnasium.utils.env_checker import check_env

from odeploy_runtime.signals import highs, lows
from odeploy_sim.catalogue import get
from odeploy_sim.tasks.gym_env import FlatEnv
from odeploy_sim.tasks.task import Task


@pytest.mark.filterwarnings("ignore:.*(minimum|maximum) value is -?infinity.*")  # unbounded on purpose
@pytest.mark.parametrize("name", ["maze-medium", "hopper", "fetch-reach", "cartpole-balance", "grid-world"])
def test_gymnasiums_checker_passes(name: str) -> None:
    env = FlatEnv(get(name))
    check_env(env, skip_render_check=True)
    env.close()


@pytest.fixture
def hopper() -> Task:
    return get("hopper")


def test_spaces_are_those_of_the_signals(hopper: Task) -> None:
    env = FlatEnv(hopper)
    assert env.observation_space.shape == (11,)
    assert env.action_space == Box(lows(hopper.action), highs(hopper.action), dtype=np.float32)
    env.close()


def test_a_reset_without_a_seed_continues_from_the_last_seed(hopper: Task) -> None:
    def three(env: FlatEnv) -> list[bytes]:
        return [env.reset(seed=5)[0].tobytes(), env.reset()[0].tobytes(), env.reset()[0].tobytes()]

    one, two = FlatEnv(hopper), FlatEnv(hopper)
    assert three(one) == three(two)
    assert len(set(three(one))) == 3
    one.close()
    two.close()


def test_a_fall_terminates_and_does_not_truncate(hopper: Task) -> None:
    env = FlatEnv(hopper)
    env.reset(seed=0)
    while True:
        _, _, terminated, truncated, info = env.step(np.ones(3, np.float32))
        if terminated or truncated:
            break
    assert (terminated, truncated) == (True, False)
    assert info == {"success": False, "invalid": False}
    env.close()
