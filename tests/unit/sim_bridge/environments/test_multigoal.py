"""Multigoal: positions of goals, dynamics, reward, and ends of episodes."""

import math
from collections.abc import Iterator
from typing import Any

import mujoco
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from numpy.typing import NDArray

from odeploy_sim.catalogue.multigoal import MULTIGOAL
from odeploy_sim.environments.multigoal import GOALS_M, REACHED_M, MultigoalEnv, goal_at
from odeploy_sim.tasks.env import TaskEnv

STILL = np.zeros(2, np.float32)


@pytest.fixture(scope="module")
def env() -> Iterator[MultigoalEnv]:
    made = MultigoalEnv()
    yield made
    made.close()  # type: ignore[no-untyped-call]


@pytest.fixture(scope="module")
def task_env() -> Iterator[TaskEnv]:
    made = TaskEnv(MULTIGOAL)
    yield made
    made.close()


def put(env: MultigoalEnv, x: float, y: float) -> None:
    env.reset(seed=0)
    env.set_state(np.array([x, y]), np.zeros(2))  # type: ignore[no-untyped-call]


def start(noise: float, seed: int) -> NDArray[np.float64]:
    observation: NDArray[np.float64] = MultigoalEnv(noise).reset(seed=seed)[0]
    return observation


def test_gymnasiums_checker_passes(env: MultigoalEnv) -> None:
    check_env(env, skip_render_check=True)


def test_the_goals_are_the_models_discs_and_are_reached_at_their_rim(env: MultigoalEnv) -> None:
    sites = [env.model.site(f"goal_{i}") for i in range(4)]
    assert env.model.nsite == 4
    for i, site in enumerate(sites):
        np.testing.assert_array_equal(site.pos[:2], GOALS_M[i])
        assert site.size[0] == REACHED_M
    assert {tuple(goal) for goal in GOALS_M.tolist()} == {(5, 0), (-5, 0), (0, 5), (0, -5)}


@pytest.mark.parametrize("goal", range(4))
def test_a_goal_is_reached_within_its_radius_and_not_outside(goal: int) -> None:
    outwards = GOALS_M[goal] / 5
    assert goal_at(outwards * 4.51) == goal_at(outwards * 5.49) == goal
    assert goal_at(outwards * 4.49) == goal_at(outwards * 5.51) == -1


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("speed", [-1.0, 0.25, 1.0])
def test_a_command_is_a_velocity_in_units_of_2_m_s_on_its_own_axis(
    env: MultigoalEnv, axis: int, speed: float
) -> None:
    put(env, 0, 0)
    command = np.zeros(2, np.float32)
    command[axis] = speed
    env.step(command)
    first = env.data.qpos.copy()
    env.step(command)
    moved = env.data.qpos - first
    assert moved[axis] == pytest.approx(2 * speed * 0.1, rel=1e-3)
    assert first[axis] == pytest.approx(moved[axis], rel=0.11)  # a lag of a tenth of a tick
    assert moved[1 - axis] == 0


def test_a_command_beyond_its_limits_has_the_effect_and_cost_of_one_at_them(
    env: MultigoalEnv,
) -> None:
    put(env, 0, 0)
    at_limits = env.step(np.array([1, -1], np.float32))
    put(env, 0, 0)
    beyond = env.step(np.array([7, -3], np.float32))
    np.testing.assert_array_equal(at_limits[0], beyond[0])
    assert at_limits[1] == beyond[1]


def test_the_reward_is_the_formula_of_the_docstring(env: MultigoalEnv) -> None:
    generator = np.random.default_rng(0)
    reached = 0
    for _ in range(300):
        put(env, *generator.uniform(-6.5, 6.5, 2))
        a = generator.uniform(-1, 1, 2).astype(np.float32)
        (x, y), reward, terminated, _, info = env.step(a)
        distance = min(math.hypot(x - 5, y), math.hypot(x + 5, y), math.hypot(x, y - 5), math.hypot(x, y + 5))
        expected = -((distance / 5) ** 2) - 0.1 * (float(a[0]) ** 2 + float(a[1]) ** 2) + 10 * (distance < 0.5)
        assert reward == pytest.approx(expected, rel=1e-6)
        assert terminated == info["success"] == (distance < 0.5)
        reached += terminated
    assert 0 < reached < 30


@pytest.mark.parametrize("goal", range(4))
def test_reaching_a_goal_ends_the_episode_and_reports_the_goal(goal: int) -> None:
    env = MultigoalEnv(noise=0)
    env.reset(seed=0)
    ends: list[dict[str, Any]] = []
    for _ in range(50):
        _, _, terminated, truncated, info = env.step((GOALS_M[goal] / 5).astype(np.float32))
        ends.append(info)
        if terminated:
            break
    assert not truncated
    assert len(ends) == 23  # 4.5 m at 0.2 m a tick, less the first tick's lag
    assert ends[-1] == {"success": True, "goal": goal}
    assert all(info == {"success": False, "goal": -1} for info in ends[:-1])


def test_standing_still_is_truncated_at_the_horizon_without_success(task_env: TaskEnv) -> None:
    task_env.reset(0)
    steps = [task_env.step(STILL) for _ in range(MULTIGOAL.horizon)]
    assert [step.truncated for step in steps] == [False] * 49 + [True]
    assert not any(step.terminated or step.success for step in steps)


def test_walls_keep_the_point_within_its_limits(env: MultigoalEnv) -> None:
    for corner in ([1, 1], [-1, 1], [1, -1], [-1, -1]):
        put(env, *(6 * np.array(corner)))
        for _ in range(60):
            observation, *_ = env.step(np.array(corner, np.float32))
            assert np.abs(observation).max() <= MULTIGOAL.observation[0].high
        np.testing.assert_allclose(observation, 7 * np.array(corner), atol=0.05)


def test_the_start_is_the_origin_plus_noise_scaled_by_the_level() -> None:
    np.testing.assert_array_equal(start(0, 3), [0, 0])
    np.testing.assert_allclose(start(2, 3), 2 * start(1, 3), rtol=1e-12)
    starts = np.array([start(1, seed) for seed in range(400)])
    np.testing.assert_allclose(starts.std(axis=0), 0.1, rtol=0.15)
    np.testing.assert_allclose(starts.mean(axis=0), 0, atol=0.02)


def test_the_same_seed_and_commands_give_the_same_episode_bit_for_bit() -> None:
    commands = np.random.default_rng(1).uniform(-1, 1, (30, 2)).astype(np.float32)

    def play(seed: int) -> list[bytes]:
        made = TaskEnv(MULTIGOAL)
        return [made.reset(seed).tobytes(), *(made.step(command).observation.tobytes() for command in commands)]

    assert play(7) == play(7)
    assert play(7) != play(8)


def test_the_camera_views_the_whole_floor_from_above(env: MultigoalEnv) -> None:
    mujoco.mj_forward(env.model, env.data)
    camera, floor = env.model.camera("above"), env.model.geom("floor")
    np.testing.assert_allclose(env.data.camera("above").xmat.reshape(3, 3)[:, 2], [0, 0, 1])
    seen_m = camera.pos[2] * math.tan(math.radians(camera.fovy[0]) / 2)
    assert floor.size[:2].max() < seen_m < 2 * floor.size[:2].max()
    assert MULTIGOAL.camera == "above"
