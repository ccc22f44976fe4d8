"""Hand-rotate: ranges of block and goal, success, and the meaning of each signal and command."""

import copy
from collections.abc import Iterator
from typing import Any

import mujoco
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from numpy.typing import NDArray

from odeploy_sim.catalogue.manipulation import HAND_ROTATE
from odeploy_sim.suites.hand_rotate import HandRotateEnv
from odeploy_sim.tasks.env import TaskEnv

IDLE = np.zeros(20, np.float32)


@pytest.fixture(scope="module")
def env() -> Iterator[HandRotateEnv]:
    made = HandRotateEnv()
    yield made
    made.close()


def flat(raw: dict[str, NDArray[np.float64]]) -> NDArray[np.float64]:
    return np.concatenate([raw["observation"], raw["desired_goal"]])


def sensed(env: HandRotateEnv) -> dict[str, float]:
    """Return every observation of the current state, by the catalogue's names."""
    mujoco.mj_forward(env.model, env.data)
    return dict(zip(HAND_ROTATE.observation_names, flat(env._get_obs()).tolist(), strict=True))


def hand_joints(env: HandRotateEnv) -> list[Any]:
    """Return the model's hinges, in its order."""
    return [joint for i in range(env.model.njnt) if (joint := env.model.joint(i)).name.startswith("robot0:")]


def placed(env: HandRotateEnv) -> NDArray[np.float64]:
    """Return the block's position and quaternion at the last reset, before settling. Shape (7,)."""
    address = env.model.joint("object:joint").qposadr[0]
    pose: NDArray[np.float64] = env.initial_qpos[address : address + 7].copy()
    return pose


def yaw(quaternions: NDArray[np.float64]) -> Any:
    """Return the angles of rotations about z."""
    return 2 * np.arctan2(quaternions[..., 3], quaternions[..., 0])


def lift_block(env: HandRotateEnv, quaternion: Any) -> None:
    """Put the block a metre above the hand, at rest, where nothing turns it."""
    block = env.data.joint("object:joint")
    block.qpos[2] += 1
    block.qpos[3:] = quaternion
    block.qvel[:] = 0


@pytest.mark.filterwarnings(
    "ignore:.*A Box observation space (min|max)imum value:UserWarning"
)  # unbounded on purpose
def test_gymnasiums_checker_passes(env: HandRotateEnv) -> None:
    check_env(env, skip_render_check=True)


def test_fifty_ticks_depend_bit_for_bit_only_on_the_seed(env: HandRotateEnv) -> None:
    actions = np.random.default_rng(0).uniform(-1, 1, (50, 20)).astype(np.float32)

    def play(env: HandRotateEnv, seed: int) -> bytes:
        states = [flat(env.reset(seed=seed)[0]), *(flat(env.step(action)[0]) for action in actions)]
        return np.array(states).tobytes()

    first = play(env, 3)
    assert play(env, 4) != first
    assert play(env, 3) == first
    assert play(HandRotateEnv(), 3) == first


@pytest.mark.parametrize("level", [0.0, 1.0, 2.25])
def test_start_and_goal_lie_in_the_levels_ranges(level: float) -> None:
    env = HandRotateEnv(noise=level)
    at_rest, spread = placed(env), np.pi / 12 * level
    np.testing.assert_array_equal(at_rest, [1, 0.87, 0.2, 1, 0, 0, 0])  # the model's
    poses = []
    for seed in range(100):
        raw, _ = env.reset(seed=seed)
        poses.append((placed(env), raw["achieved_goal"], raw["desired_goal"]))
    starts, settled, goals = np.array(poses).transpose(1, 0, 2)

    # The outermost of 100 uniform draws lies within 10 % of either end, except with probability 0.9^100 = 3e-5.
    for yaws, middle in ((yaw(starts[:, 3:]), 0), (yaw(goals[:, 3:]), np.pi / 3)):
        assert middle - spread - 1e-9 <= yaws.min() <= middle - 0.8 * spread + 1e-9
        assert middle + 0.8 * spread - 1e-9 <= yaws.max() <= middle + spread + 1e-9
    for quaternions in (starts[:, 3:], goals[:, 3:]):
        np.testing.assert_allclose(quaternions[:, 1:3], 0, atol=1e-12)  # about z alone
        np.testing.assert_allclose(np.linalg.norm(quaternions, axis=1), 1, rtol=1e-12)
    # 300 normal draws: their standard deviation is known to 4 % (one sigma).
    assert (starts[:, :3] - at_rest[:3]).std() == pytest.approx(0.005 * level, rel=0.16)

    # Within the 0.4 s of settling the block falls 3 cm onto a slanted palm, which turns it by 0.14 rad at level 0
    # and, off the middle, by up to 0.2. It stays on the palm.
    np.testing.assert_allclose(yaw(settled[:, 3:]), yaw(starts[:, 3:]), atol=0.25)
    assert (settled[:, 2] > 0.15).all()
    np.testing.assert_array_equal(goals[:, :3], settled[:, :3])
    env.close()


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize(("away_rad", "success"), [(0.0, True), (0.09, True), (-0.09, True), (0.11, False)])
def test_a_rotation_within_a_tenth_of_a_radian_of_the_goals_is_a_success_at_any_position(
    env: HandRotateEnv, away_rad: float, success: bool, axis: int
) -> None:
    env.reset(seed=0)
    turn, turned = np.zeros(4), np.zeros(4)
    mujoco.mju_axisAngle2Quat(turn, np.eye(3)[axis], away_rad)
    mujoco.mju_mulQuat(turned, turn, env.goal[3:])
    lift_block(env, turned)
    _, reward, terminated, truncated, info = env.step(IDLE)
    assert bool(info["is_success"]) == success
    assert reward == (0 if success else -1)
    assert (terminated, truncated) == (success, False)


def test_the_dense_reward_is_minus_the_remaining_angle() -> None:
    env = HandRotateEnv(reward_type="dense")
    env.reset(seed=0)
    lift_block(env, [1, 0, 0, 0])
    _, reward, *_ = env.step(IDLE)
    assert reward == pytest.approx(-yaw(env.goal[3:]), abs=1e-6)
    env.close()


def test_an_episode_without_success_is_truncated_at_tick_fifty() -> None:
    env = TaskEnv(HAND_ROTATE)
    env.reset(0)
    steps = []
    for _ in range(50):
        inside: Any = env.env.unwrapped
        lift_block(inside, [1, 0, 0, 0])
        steps.append(env.step(IDLE))
    env.close()
    assert not any(step.terminated or step.success for step in steps)
    assert [step.truncated for step in steps] == [False] * 49 + [True]


def test_simulated_time_advances_at_the_tasks_rate(env: HandRotateEnv) -> None:
    env.reset(seed=0)
    before = env.data.time
    for _ in range(10):
        env.step(IDLE)
    assert (env.data.time - before) / 10 == pytest.approx(1 / HAND_ROTATE.rate_hz, rel=1e-9)
    assert env.model.opt.timestep == HAND_ROTATE.physics_step_s


def test_each_joint_of_the_model_is_observed_under_its_name(env: HandRotateEnv) -> None:
    env.reset(seed=1)
    joints = hand_joints(env)
    assert len(joints) == 24
    for joint in joints:
        for array, address, suffix in (
            (env.data.qpos, joint.qposadr[0], "angle"),
            (env.data.qvel, joint.dofadr[0], "angular_velocity"),
        ):
            before = sensed(env)
            array[address] += 0.01
            after = sensed(env)
            moved = {name: after[name] - before[name] for name in before if after[name] != before[name]}
            assert moved == pytest.approx({f"{joint.name}_{suffix}": 0.01})


def test_block_and_goal_signals_are_the_models_and_the_environments(env: HandRotateEnv) -> None:
    env.reset(seed=1)
    generator = np.random.default_rng(0)
    env.data.joint("object:joint").qvel[:] = generator.normal(size=6)
    seen, block = sensed(env), env.data.body("object")
    truth = {f"block_{axis}": block.xpos[i] for i, axis in enumerate("xyz")}
    truth |= {f"block_quaternion_{part}": block.xquat[i] for i, part in enumerate("wxyz")}
    truth |= {f"goal_{axis}": env.goal[i] for i, axis in enumerate("xyz")}
    truth |= {f"goal_quaternion_{part}": env.goal[3 + i] for i, part in enumerate("wxyz")}
    assert {name: seen[name] for name in truth} == pytest.approx(truth, abs=1e-9)

    # MuJoCo's velocities: linear in the world, angular in the block's frame.
    velocity = np.zeros(6)
    mujoco.mj_objectVelocity(env.model, env.data, mujoco.mjtObj.mjOBJ_XBODY, block.id, velocity, 0)
    linear = [seen[f"block_velocity_{axis}"] for axis in "xyz"]
    angular = [seen[f"block_{axis}_angular_velocity"] for axis in "xyz"]
    np.testing.assert_allclose(linear, velocity[3:], atol=1e-9)
    np.testing.assert_allclose(block.xmat.reshape(3, 3) @ angular, velocity[:3], atol=1e-9)


def test_each_command_belongs_to_the_actuator_of_the_joint_in_its_name(env: HandRotateEnv) -> None:
    joints = [env.model.joint(env.model.actuator(i).trnid[0]).name for i in range(env.model.nu)]
    assert [f"{joint}_position" for joint in joints] == list(HAND_ROTATE.action_names)
    assert [env.model.actuator(i).name.replace("A_", "") for i in range(env.model.nu)] == joints
    undriven = {joint.name for joint in hand_joints(env)} - set(joints)
    assert undriven == {f"robot0:{finger}J0" for finger in ("FF", "MF", "RF", "LF")}


def test_commands_run_from_one_end_of_the_joints_range_to_the_other(env: HandRotateEnv) -> None:
    ranges = np.array([env.model.joint(env.model.actuator(i).trnid[0]).range for i in range(env.model.nu)])
    for command, target in ((-1, ranges[:, 0]), (0, ranges.mean(axis=1)), (1, ranges[:, 1])):
        env.reset(seed=0)
        env.step(np.full(20, command, np.float32))
        np.testing.assert_allclose(env.data.ctrl, target, atol=1e-9)


def test_each_command_moves_the_joint_in_its_name(env: HandRotateEnv) -> None:
    def after(action: NDArray[np.float32]) -> dict[str, float]:
        """Return the joint angles after a fifth of a second without a block."""
        env.reset(seed=0)
        lift_block(env, [1, 0, 0, 0])
        for _ in range(5):
            env.step(action)
        return {joint.name: float(env.data.joint(joint.name).qpos[0]) for joint in hand_joints(env)}

    idle = after(IDLE)
    for i, name in enumerate(HAND_ROTATE.action_names):
        angles = after(0.5 * np.eye(20, dtype=np.float32)[i])
        moved = {joint: abs(angle - idle[joint]) for joint, angle in angles.items()}
        named = name.removesuffix("_position")
        driven = {named: moved[named]}
        if named[-2:] == "J1" and named[-4:-2] in ("FF", "MF", "RF", "LF"):  # a tendon bends the tip with it
            driven[f"{named[:-1]}0"] = moved[f"{named[:-1]}0"]
        assert angles[named] - idle[named] > 0.05
        assert max(moved, key=lambda joint: moved[joint]) in driven


def test_a_copy_keeps_the_noise() -> None:
    env = copy.deepcopy(HandRotateEnv(noise=0.0))
    assert yaw(env.reset(seed=0)[0]["desired_goal"][3:]) == pytest.approx(np.pi / 3, abs=1e-12)
    env.close()
