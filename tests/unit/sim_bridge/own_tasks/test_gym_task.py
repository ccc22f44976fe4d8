"""Tasks from gymnasium ids: their signals, and environments that do not fit."""

from collections.abc import Callable, Iterator
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete, Space
from numpy.typing import NDArray

from odeploy_runtime.errors import MissingError, UsageError
from odeploy_sim.catalogue import get
from odeploy_sim.own_tasks.gym_task import task
from odeploy_sim.own_tasks.signals_of_spaces import is_made_up
from odeploy_sim.tasks.env import TaskEnv


@pytest.mark.parametrize("name", ["hopper", "walker2d", "halfcheetah"])
def test_names_and_units_of_a_model_are_those_of_the_catalogue(name: str) -> None:
    catalogued, derived = get(name), task(f"gym:{get(name).gym_id}")
    assert derived.observation_names == catalogued.observation_names
    assert [s.unit for s in derived.observation] == [s.unit for s in catalogued.observation]
    assert derived.action == catalogued.action
    assert derived.rate_hz == pytest.approx(catalogued.rate_hz)
    assert derived.horizon == catalogued.horizon
    assert derived.physics_step_s == catalogued.physics_step_s


def test_an_arm_and_its_target_are_told_apart_by_their_values() -> None:
    reacher = task("gym:Reacher-v5")
    assert reacher.observation_names == (
        "joint0_cos",
        "joint1_cos",
        "joint0_sin",
        "joint1_sin",
        "target_x_position",
        "target_y_position",
        "joint0_angular_velocity",
        "joint1_angular_velocity",
        "fingertip_minus_target_x",
        "fingertip_minus_target_y",
    )
    assert [s.unit for s in reacher.action] == ["200 N·m", "200 N·m"]


def test_a_dictionary_observation_is_flattened_in_the_order_of_its_space() -> None:
    reach = task("gym:gymnasium_robotics:FetchReach-v4")
    assert reach.success_key == "is_success"
    assert reach.observation_keys == ("achieved_goal", "desired_goal", "observation")
    env = TaskEnv(reach)
    flat = env.reset(0)
    np.testing.assert_allclose(flat, np.concatenate([env.raw[key] for key in reach.observation_keys]), rtol=1e-6)
    assert len(set(reach.observation_names)) == len(reach.observation)


def test_names_without_a_model_tell_their_place() -> None:
    pendulum = task("gym:Pendulum-v1")
    assert pendulum.observation_names == ("obs_at_0", "obs_at_1", "obs_at_2")
    assert all(is_made_up(name) for name in (*pendulum.observation_names, *pendulum.action_names))
    assert not is_made_up("elbow_angle")
    assert (pendulum.rate_hz, pendulum.action[0].low) == (20, -2.0)


Register = Callable[..., str]


class _Bare(gymnasium.Env[NDArray[Any], NDArray[Any]]):
    """An environment of given spaces that states nothing else."""

    def __init__(self, observation_space: Space[Any], action_space: Space[Any]) -> None:
        self.observation_space, self.action_space = observation_space, action_space

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[Any], dict[str, Any]]:
        super().reset(seed=seed)
        return self.observation_space.sample(), {}

    def step(self, action: NDArray[Any]) -> tuple[NDArray[Any], float, bool, bool, dict[str, Any]]:
        return self.observation_space.sample(), 0.0, False, False, {}


@pytest.fixture
def registered() -> Iterator[Register]:
    made: list[str] = []

    def register(observation_space: Space[Any], action_space: Space[Any], **facts: Any) -> str:
        name = f"OdeployTest{len(made)}-v0"
        spaces = {"observation_space": observation_space, "action_space": action_space}
        gymnasium.register(name, entry_point=f"{__name__}:_Bare", kwargs=spaces, **facts)
        made.append(name)
        return f"gym:{name}"

    yield register
    for name in made:
        gymnasium.registry.pop(name)


BOX, UNIT = Box(-1, 1, (3,)), Box(-1, 1, (2,))


@pytest.mark.parametrize(
    ("observation_space", "action_space", "message"),
    [
        (Box(0, 255, (8, 8, 3), np.uint8), UNIT, "discrete and image observations are not supported"),
        (Discrete(4), UNIT, "discrete and image observations are not supported"),
        (BOX, Discrete(4), "discrete actions are not supported"),
        (BOX, Box(-np.inf, np.inf, (2,)), "expected limits for each action"),
    ],
)
def test_spaces_that_are_no_limited_vectors_are_refused(
    registered: Register, observation_space: Space[Any], action_space: Space[Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        task(registered(observation_space, action_space, max_episode_steps=5))


def test_an_environment_without_rate_or_horizon_asks_for_a_task_file(registered: Register) -> None:
    with pytest.raises(UsageError, match="odeploy tasks new gym:OdeployTest0-v0 --rate-hz"):
        task(registered(BOX, UNIT, max_episode_steps=5))
    with pytest.raises(UsageError, match="--horizon"):
        task(registered(BOX, UNIT), rate_hz=20)


def test_an_unknown_id_or_package_is_one_line() -> None:
    with pytest.raises(MissingError, match="registered gymnasium id"):
        task("gym:NoSuchRobot-v0")
    with pytest.raises(MissingError, match="an installed module no_such_package"):
        task("gym:no_such_package:Robot-v0")
