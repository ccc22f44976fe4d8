"""Ant-goal: goals on a half circle, a reward for progress, and the meaning of each signal and command."""

import copy
from typing import Any

import mujoco
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from numpy.typing import NDArray

from odeploy_sim.catalogue.locomotion import ANT_GOAL
from odeploy_sim.environments.ant_goal import AntGoalEnv
from odeploy_sim.tasks.env import TaskEnv

IDLE = np.zeros(8, np.float32)


@pytest.fixture(scope="module")
def env() -> AntGoalEnv:
    return AntGoalEnv()


def sensed(env: AntGoalEnv) -> dict[str, float]:
    """Return every observation of the current state, by the catalogue's names."""
    mujoco.mj_forward(env.model, env.data)
    return dict(zip(ANT_GOAL.observation_names, env._get_obs().tolist(), strict=True))


def leg_joints(env: AntGoalEnv) -> list[Any]:
    """Return the model's hinges, in its order."""
    return [env.model.joint(i) for i in range(1, env.model.njnt)]


@pytest.mark.filterwarnings(
    "ignore:.*A Box observation space (min|max)imum value:UserWarning"
)  # unbounded on purpose
def test_gymnasiums_checker_passes(env: AntGoalEnv) -> None:
    check_env(env, skip_render_check=True)


def test_fifty_ticks_depend_bit_for_bit_only_on_the_seed(env: AntGoalEnv) -> None:
    actions = np.random.default_rng(0).uniform(-1, 1, (50, 8)).astype(np.float32)

    def play(env: AntGoalEnv, seed: int) -> bytes:
        states = [env.reset(seed=seed)[0], *(env.step(action)[0] for action in actions)]
        return np.array(states).tobytes()

    first = play(env, 3)
    assert play(env, 4) != first
    assert play(env, 3) == first
    assert play(AntGoalEnv(), 3) == first


@pytest.mark.parametrize("level", [0.0, 1.0, 5.0])
def test_position_and_joints_at_the_spawn_are_uniform_within_the_levels_noise(level: float) -> None:
    env, width = AntGoalEnv(reset_noise_scale=0.1 * level), 0.1 * level
    spread = np.array([env.reset(seed=seed)[0][:15] for seed in range(200)]) - env.init_qpos
    # The outermost of 200 uniform draws lies within 5 % of either end, except with probability 0.95^200 = 4e-5.
    assert (np.abs(spread) <= width).all()
    assert (spread.min(axis=0) <= -0.9 * width).all()
    assert (spread.max(axis=0) >= 0.9 * width).all()
    velocities = np.array([env.reset(seed=seed)[0][15:29] for seed in range(200)])
    # 2800 normal draws: their standard deviation is known to 1.3 % (one sigma).
    assert velocities.std() == pytest.approx(width, rel=0.06)


def test_goals_fill_the_half_circle_of_five_metres(env: AntGoalEnv) -> None:
    goals = np.array([env.reset(seed=seed)[0][-2:] for seed in range(200)])
    np.testing.assert_allclose(np.linalg.norm(goals, axis=1), 5, rtol=1e-12)
    angles = np.arctan2(goals[:, 1], goals[:, 0])
    assert 0 <= angles.min() < 0.05 * np.pi
    assert 0.95 * np.pi < angles.max() <= np.pi


def test_rewards_sum_to_the_decrease_of_the_distance_to_the_goal(env: AntGoalEnv) -> None:
    generator = np.random.default_rng(1)
    first = env.reset(seed=2)[0]
    rewards = []
    for _ in range(50):
        last, reward, *_ = env.step(generator.uniform(-1, 1, 8).astype(np.float32))
        rewards.append(reward)
    away = [float(np.linalg.norm(state[:2] - state[-2:])) for state in (first, last)]
    assert abs(away[0] - away[1]) > 0.01
    assert sum(rewards) == pytest.approx(away[0] - away[1], abs=1e-12)


@pytest.mark.parametrize("direction", [(1.0, 0.0), (0.0, 1.0), (-0.6, -0.8)])
@pytest.mark.parametrize(("away_m", "success"), [(0.0, True), (0.45, True), (0.55, False)])
def test_a_torso_within_half_a_metre_of_the_goal_is_a_success_and_ends_the_episode(
    away_m: float, success: bool, direction: tuple[float, float]
) -> None:
    env = AntGoalEnv(reset_noise_scale=0.0)  # at rest: in one tick it stays within a centimetre
    env.reset(seed=0)
    env.data.qpos[:2] = env.goal + away_m * np.array(direction)
    state, _, terminated, truncated, info = env.step(IDLE)
    assert (terminated, truncated) == (success, False)
    assert info["success"] == success
    assert info["distance_m"] == pytest.approx(np.linalg.norm(state[:2] - state[-2:]), abs=1e-12)
    assert info["distance_m"] == pytest.approx(away_m, abs=0.01)


def test_an_ant_on_its_back_continues_until_truncation_at_tick_fifty() -> None:
    env = TaskEnv(ANT_GOAL)
    env.reset(0)
    inside: Any = env.env.unwrapped
    inside.data.qpos[2:7] = [0.5, 0, 1, 0, 0]  # half a turn about x
    steps = [env.step(IDLE) for _ in range(50)]
    env.close()
    upside_down = steps[-1].observation[4] ** 2 + steps[-1].observation[5] ** 2  # sin² of half the tilt
    assert upside_down > 0.7
    assert not any(step.terminated or step.success for step in steps)
    assert [step.truncated for step in steps] == [False] * 49 + [True]


def test_simulated_time_advances_at_the_tasks_rate(env: AntGoalEnv) -> None:
    env.reset(seed=0)
    before = env.data.time
    for _ in range(10):
        env.step(IDLE)
    assert (env.data.time - before) / 10 == pytest.approx(1 / ANT_GOAL.rate_hz, rel=1e-9)
    assert env.model.opt.timestep == ANT_GOAL.physics_step_s


def test_each_joint_of_the_model_is_observed_under_its_name(env: AntGoalEnv) -> None:
    env.reset(seed=1)
    for joint in leg_joints(env):
        for array, address, suffix in (
            (env.data.qpos, joint.qposadr[0], "angle"),
            (env.data.qvel, joint.dofadr[0], "angular_velocity"),
        ):
            before = sensed(env)
            array[address] += 0.1
            after = sensed(env)
            moved = {name: after[name] - before[name] for name in before if after[name] != before[name]}
            assert moved == pytest.approx({f"{joint.name}_{suffix}": 0.1})


def test_torso_and_goal_signals_are_the_models_and_the_environments(env: AntGoalEnv) -> None:
    env.reset(seed=1)
    env.step(IDLE)
    seen, torso = sensed(env), env.data.body("torso")
    truth = {f"torso_{axis}": torso.xpos[i] for i, axis in enumerate("xyz")}
    truth |= {f"torso_quaternion_{part}": torso.xquat[i] for i, part in enumerate("wxyz")}
    truth |= {"goal_x": env.goal[0], "goal_y": env.goal[1]}
    assert {name: seen[name] for name in truth} == pytest.approx(truth, abs=1e-9)

    # MuJoCo's velocities: linear in the world, angular in the torso's frame; at its origin.
    velocity = np.zeros(6)
    mujoco.mj_objectVelocity(env.model, env.data, mujoco.mjtObj.mjOBJ_XBODY, torso.id, velocity, 0)
    linear = [seen[f"torso_velocity_{axis}"] for axis in "xyz"]
    angular = [seen[f"torso_{axis}_angular_velocity"] for axis in "xyz"]
    np.testing.assert_allclose(linear, velocity[3:], atol=1e-9)
    np.testing.assert_allclose(torso.xmat.reshape(3, 3) @ angular, velocity[:3], atol=1e-9)


def test_each_command_is_the_torque_on_the_joint_in_its_name(env: AntGoalEnv) -> None:
    joints = {joint.name: int(joint.dofadr[0]) for joint in leg_joints(env)}
    env.reset(seed=1)
    for i, signal in enumerate(ANT_GOAL.action):
        env.step(np.eye(8, dtype=np.float32)[i])
        forces: NDArray[np.float64] = env.data.qfrc_actuator
        assert forces[joints.pop(signal.name.removesuffix("_torque"))] == pytest.approx(150)
        assert np.count_nonzero(forces) == 1
        assert signal.unit == "150 N·m"
    assert not joints


def test_a_copy_keeps_the_noise() -> None:
    env = copy.deepcopy(AntGoalEnv(reset_noise_scale=0.0))
    np.testing.assert_array_equal(env.reset(seed=0)[0][:15], env.init_qpos)


def test_at_the_highest_level_an_idle_ant_stays_near_the_ground() -> None:
    assert ANT_GOAL.noise is not None
    env = TaskEnv(ANT_GOAL, ANT_GOAL.noise.highest)
    highest_m = 0.0
    for seed in range(60):
        env.reset(seed)
        heights = [float(env.step(IDLE).observation[2]) for _ in range(20)]
        highest_m = max(highest_m, *heights)
    env.close()
    assert highest_m < 1.5  # spawned at 0.75 m, and up to the level's noise above
