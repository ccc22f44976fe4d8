"""Pose-track: observed goals, reward, and ends of episodes."""

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import mujoco
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from numpy.typing import NDArray

from odeploy_sim.catalogue.pose_track import POSE_TRACK, POSE_TRACK_ALL, POSE_TRACK_ROOT
from odeploy_sim.environments import pose_track
from odeploy_sim.environments.motions import Motion
from odeploy_sim.environments.pose_track import FAR_M, POINTS, RATES_RAD_S, TICK_S, TICKS, TOLD, PoseTrackEnv
from odeploy_sim.tasks.env import Step, TaskEnv
from odeploy_sim.tasks.task import Task

IDLE = np.zeros(11, np.float32)


@pytest.fixture
def env() -> Iterator[TaskEnv]:
    with closing(TaskEnv(POSE_TRACK_ALL)) as made:
        yield made


def inside(env: TaskEnv) -> Any:
    return env.env.unwrapped


def play(task: Task, seed: int, *, follow: bool) -> list[Step]:
    """Play an episode of idling, or with the reference's angles as setpoints."""
    with closing(TaskEnv(task)) as env:
        env.reset(seed)
        steps: list[Step] = []
        while not steps or not steps[-1].done:
            ahead = inside(env)._poses[len(steps) + 1, 3:] - inside(env)._setpoint_rad
            steps.append(env.step((ahead / TICK_S).astype(np.float32) if follow else IDLE))
    return steps


@pytest.mark.filterwarnings(
    "ignore:.*A Box observation space (min|max)imum value:UserWarning"
)  # unbounded on purpose
@pytest.mark.filterwarnings(
    "ignore:.*recommend using a symmetric and normalized space:UserWarning"
)  # rad/s on purpose
def test_gymnasiums_checker_passes() -> None:
    check_env(PoseTrackEnv(), skip_render_check=True)


def test_an_episode_depends_bit_for_bit_only_on_the_seed() -> None:
    with closing(TaskEnv(POSE_TRACK_ALL)) as env:
        firsts, lasts = [], []
        for seed in (3, 4, 3):
            firsts.append(env.reset(seed).tobytes())
            lasts.append(env.step(RATES_RAD_S).observation.tobytes())
    assert firsts[0] == firsts[2] != firsts[1]
    assert lasts[0] == lasts[2] != lasts[1]


def test_an_episode_begins_on_the_reference_and_moves_with_it(env: TaskEnv) -> None:
    seen = dict(zip(env.task.observation_names, env.reset(5), strict=True))
    reference = inside(env)._poses
    np.testing.assert_allclose(inside(env).data.qpos, reference[0])
    np.testing.assert_allclose(inside(env).data.qvel, (reference[1] - reference[0]) / TICK_S)
    for point in POINTS:  # the offset to the goal equals the goal's motion in one tick
        for axis in "xz":
            way, velocity = seen[f"{point}_to_goal_{axis}"], seen[f"{point}_goal_velocity_{axis}"]
            assert way == pytest.approx(velocity * TICK_S, abs=1e-6)


@pytest.mark.parametrize("task", POSE_TRACK, ids=lambda task: task.name)
def test_each_task_observes_only_its_points(task: Task) -> None:
    observed = {name.removesuffix("_to_goal_x") for name in task.observation_names if name.endswith("_to_goal_x")}
    assert observed == set(TOLD[task.make_arguments["told"]])


def test_the_three_tasks_differ_only_in_their_observed_points() -> None:
    played = {task.name: play(task, 7, follow=True) for task in POSE_TRACK}
    everything, *others = played.values()
    for task, steps in zip(POSE_TRACK[1:], others, strict=True):
        assert [(s.reward, s.done, s.success) for s in steps] == [
            (s.reward, s.done, s.success) for s in everything
        ]
        among = [POSE_TRACK_ALL.observation_names.index(name) for name in task.observation_names]
        for mine, its in zip(steps, everything, strict=True):
            np.testing.assert_array_equal(mine.observation, its.observation[among])


def test_the_reward_includes_points_that_are_not_observed() -> None:
    def first_reward(shoulder_rad: float) -> float:
        with closing(TaskEnv(POSE_TRACK_ROOT)) as env:
            env.reset(1)
            data = inside(env).data
            data.qpos[4] += shoulder_rad
            return env.step(IDLE).reward

    assert first_reward(0.0) > 0.9
    assert first_reward(0.5) < 0.8 * first_reward(0.0)


def test_an_episode_ends_when_the_pose_is_lost_and_not_before(env: TaskEnv) -> None:
    env.reset(2)
    while True:
        *_, terminated, _, info = env.env.step(IDLE)
        assert terminated == (info["error_m"] > FAR_M)
        assert not info["success"]
        if terminated:
            return


def test_the_references_angles_as_setpoints_succeed_on_a_bow_and_idling_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bow = Motion(
        "bow", 0.6, ("forward", "back"), (1.8, -1.3), stance_m=0.13, lifted=0, speed_rad_s=2.0, phase_rad=0.0
    )
    monkeypatch.setattr(pose_track, "draw", lambda _: bow)
    following, idling = (play(POSE_TRACK_ALL, 0, follow=follow) for follow in (True, False))
    assert following[-1].success
    assert len(following) == TICKS
    assert following[-1].truncated
    assert not following[-1].terminated
    assert idling[-1].terminated
    assert len(idling) < TICKS


def test_a_command_is_the_speed_of_the_setpoint_it_names(env: TaskEnv) -> None:
    def setpoints() -> NDArray[np.float64]:
        return np.array(inside(env)._setpoint_rad)

    names = [inside(env).model.actuator(i).name for i in range(11)]
    assert [f"{name}_setpoint_velocity" for name in names] == list(env.task.action_names)
    for i in range(11):
        env.reset(1)
        before, command = setpoints(), IDLE.copy()
        command[i] = 1.5
        env.step(command)
        np.testing.assert_allclose(setpoints() - before, 1.5 * TICK_S * np.eye(11)[i], atol=1e-6)
        np.testing.assert_allclose(inside(env).data.ctrl, setpoints())


def test_setpoints_stop_at_the_servos_limits(env: TaskEnv) -> None:
    env.reset(1)
    for _ in range(40):
        env.env.step(10 * RATES_RAD_S)
    np.testing.assert_allclose(inside(env)._setpoint_rad, inside(env).model.actuator_ctrlrange[:, 1])


def test_rendered_marks_are_at_the_reference() -> None:
    with closing(TaskEnv(POSE_TRACK_ROOT, render_mode="rgb_array")) as env:
        env.reset(1)
        env.step(IDLE)
        model, data = inside(env).model, inside(env).data
        mujoco.mj_kinematics(model, data)
        marks = [data.site(f"goal_{point}").xpos[::2] for point in POINTS]
        np.testing.assert_allclose(marks, inside(env)._goal_m)
        red = [point for point in POINTS if model.site(f"goal_{point}").rgba[0] > 0.8]
    assert red == ["pelvis"]
