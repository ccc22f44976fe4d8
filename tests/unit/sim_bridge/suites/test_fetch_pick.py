"""Fetch-pick: ranges of block and goal, success, and the meaning of each signal and command."""

import copy
from collections.abc import Iterator
from typing import Any

import mujoco
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from numpy.typing import NDArray

from odeploy_runtime.errors import UsageError
from odeploy_sim.catalogue.manipulation import FETCH_PICK
from odeploy_sim.suites.fetch_pick import FetchPickEnv
from odeploy_sim.tasks.env import TaskEnv

IDLE = np.zeros(4, np.float32)


@pytest.fixture(scope="module")
def env() -> Iterator[FetchPickEnv]:
    made = FetchPickEnv()
    yield made
    made.close()


def flat(raw: dict[str, NDArray[np.float64]]) -> NDArray[np.float64]:
    return np.concatenate([raw["observation"], raw["desired_goal"]])


def sensed(env: FetchPickEnv) -> dict[str, float]:
    """Return every observation of the current state, by the catalogue's names."""
    mujoco.mj_forward(env.model, env.data)
    return dict(zip(FETCH_PICK.observation_names, flat(env._get_obs()).tolist(), strict=True))


def put_block(env: FetchPickEnv, xyz: Any) -> None:
    """Put the block at a position, at rest and upright."""
    env.data.joint("object0:joint").qpos[:] = [*xyz, 1, 0, 0, 0]
    env.data.joint("object0:joint").qvel[:] = 0


def drawn(env: FetchPickEnv, episodes: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return block starts and goals from the gripper's start [m], goals' y mirrored. Shapes (episodes, 3)."""
    raws = [env.reset(seed=seed)[0] for seed in range(episodes)]
    blocks = np.array([raw["achieved_goal"] for raw in raws]) - env.initial_gripper_xpos
    goals = np.array([raw["desired_goal"] for raw in raws]) - env.initial_gripper_xpos
    return blocks, goals * [1, -1, 1]


@pytest.mark.filterwarnings(
    "ignore:.*A Box observation space (min|max)imum value:UserWarning"
)  # unbounded on purpose
def test_gymnasiums_checker_passes(env: FetchPickEnv) -> None:
    check_env(env, skip_render_check=True)


def test_fifty_ticks_depend_bit_for_bit_only_on_the_seed(env: FetchPickEnv) -> None:
    actions = np.random.default_rng(0).uniform(-1, 1, (50, 4)).astype(np.float32)

    def play(env: FetchPickEnv, seed: int) -> bytes:
        states = [flat(env.reset(seed=seed)[0]), *(flat(env.step(action)[0]) for action in actions)]
        return np.array(states).tobytes()

    first = play(env, 3)
    assert play(env, 4) != first
    assert play(env, 3) == first
    assert play(FetchPickEnv(), 3) == first


@pytest.mark.parametrize("level", [0.0, 1.0, 2.25])
def test_block_and_goal_fill_ranges_of_ten_by_four_centimetres_times_the_level(level: float) -> None:
    env = FetchPickEnv(noise=level)
    height = env.height_offset - env.initial_gripper_xpos[2]
    for points, z in zip(drawn(env, 200), (height, height + 0.15), strict=True):
        np.testing.assert_allclose(points[:, 2], z, atol=1e-6)
        # The outermost of 200 uniform draws lies within 5 % of either end, except with probability 4e-5.
        for axis, (low, high) in enumerate([(-0.05 * level, 0.05 * level), (0.1, 0.1 + 0.04 * level)]):
            slack = 0.05 * (high - low) + 1e-7
            assert low - 1e-7 <= points[:, axis].min() <= low + slack
            assert high - slack <= points[:, axis].max() <= high + 1e-7
    env.close()


@pytest.mark.parametrize("coverage", [0.25, 0.5, 0.75, 1.0])
def test_coverage_is_the_share_of_both_ranges_in_use(coverage: float) -> None:
    env = FetchPickEnv(coverage=coverage)
    for points in drawn(env, 400):
        cells = set(
            zip(*np.floor((points[:, :2] + [0.05, -0.1]) / [0.025, 0.01]).astype(int).T.tolist(), strict=True)
        )
        assert len(cells) == 16 * coverage
        assert {x for x, _ in cells} == {y for _, y in cells} == {0, 1, 2, 3}
    env.close()


@pytest.mark.parametrize("coverage", [0.0, 0.3, 1.25, float("nan")])
def test_a_coverage_that_is_no_whole_number_of_rows_is_refused(coverage: float) -> None:
    with pytest.raises(UsageError, match=r"one of 0\.25, 0\.5, 0\.75, 1, got"):
        FetchPickEnv(coverage=coverage)


@pytest.mark.parametrize(("away_m", "success"), [(0.0, True), (0.045, True), (0.055, False), (0.3, False)])
def test_a_block_within_five_centimetres_of_the_goal_is_a_success_and_does_not_end_the_episode(
    env: FetchPickEnv, away_m: float, success: bool
) -> None:
    env.reset(seed=0)
    put_block(env, env.goal + np.array([away_m, 0, 0.004]))  # it falls 8 mm within the tick
    _, reward, terminated, truncated, info = env.step(IDLE)
    assert bool(info["is_success"]) == success
    assert reward == (0 if success else -1)
    assert (terminated, truncated) == (False, False)


def test_even_a_successful_episode_continues_until_truncation_at_tick_fifty() -> None:
    env = TaskEnv(FETCH_PICK)
    env.reset(0)
    steps = []
    for _ in range(50):
        inside: Any = env.env.unwrapped
        put_block(inside, inside.goal)
        steps.append(env.step(IDLE))
    env.close()
    assert all(step.success for step in steps)
    assert not any(step.terminated for step in steps)
    assert [step.truncated for step in steps] == [False] * 49 + [True]


def test_simulated_time_advances_at_the_tasks_rate(env: FetchPickEnv) -> None:
    env.reset(seed=0)
    before = env.data.time
    for _ in range(10):
        env.step(IDLE)
    assert (env.data.time - before) / 10 == pytest.approx(1 / FETCH_PICK.rate_hz, rel=1e-9)
    assert env.model.opt.timestep == FETCH_PICK.physics_step_s


@pytest.mark.parametrize("side", ["right", "left"])
def test_each_finger_is_observed_under_its_name(env: FetchPickEnv, side: str) -> None:
    env.reset(seed=1)
    before = sensed(env)
    env.data.joint(f"robot0:{side[0]}_gripper_finger_joint").qpos[0] += 0.01
    after = sensed(env)
    moved = {name: after[name] - before[name] for name in before if abs(after[name] - before[name]) > 1e-9}
    assert moved == pytest.approx({f"{side}_finger_position": 0.01})


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_block_is_observed_in_the_world_and_from_the_gripper(env: FetchPickEnv, axis: int) -> None:
    env.reset(seed=1)
    before = sensed(env)
    env.data.joint("object0:joint").qpos[axis] += 0.02
    after = sensed(env)
    moved = {name: after[name] - before[name] for name in before if abs(after[name] - before[name]) > 1e-9}
    assert moved == pytest.approx({f"block_{'xyz'[axis]}": 0.02, f"block_from_gripper_{'xyz'[axis]}": 0.02})


def test_the_blocks_rotation_is_observed_about_x_and_y_but_not_about_z(env: FetchPickEnv) -> None:
    env.reset(seed=1)
    for axis, truth in enumerate([(0.3, 0.0), (0.0, 0.3), (0.0, 0.0)]):
        quaternion = np.zeros(4)
        mujoco.mju_axisAngle2Quat(quaternion, np.eye(3)[axis], 0.3)
        env.data.joint("object0:joint").qpos[3:] = quaternion
        seen = sensed(env)
        assert (seen["block_x_angle"], seen["block_y_angle"]) == pytest.approx(truth, abs=1e-9)


def test_gripper_and_goal_signals_are_the_models_and_the_environments(env: FetchPickEnv) -> None:
    env.reset(seed=1)
    seen, grip = sensed(env), env.data.site("robot0:grip").xpos
    for axis, name in enumerate("xyz"):
        assert seen[f"gripper_{name}"] == grip[axis]
        assert seen[f"goal_{name}"] == env.goal[axis]


def test_each_command_moves_the_part_in_its_name(env: FetchPickEnv) -> None:
    def after(action: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return gripper xyz and both fingers after two ticks."""
        env.reset(seed=1)
        for _ in range(2):
            raw = env.step(action)[0]
        return np.delete(raw["observation"], slice(3, 9))[:5]

    idle = after(IDLE)
    for i, name in enumerate(FETCH_PICK.action_names):
        moved = after(np.eye(4, dtype=np.float32)[i]) - idle
        if name == "finger_displacement":
            assert (moved[3:] > 0.04).all()  # of a finger's range of 0.05
            np.testing.assert_allclose(moved[:3], 0, atol=0.002)
        else:
            assert moved[i] > 0.05  # of the commanded 0.1
            np.testing.assert_allclose(np.delete(moved, i), 0, atol=0.01)
            assert name == f"gripper_displacement_{'xyz'[i]}"


def test_a_copy_keeps_noise_and_coverage() -> None:
    env = copy.deepcopy(FetchPickEnv(noise=0.0, coverage=0.25))
    blocks, _ = drawn(env, 3)
    np.testing.assert_allclose(blocks[:, :2], [[0, 0.1]] * 3, atol=1e-6)
    assert (env.noise, env._rows) == (0.0, 1)
    env.close()
