"""The pose-track tasks against the model: each state is observed under its name."""

from contextlib import closing
from typing import Any

import mujoco
import numpy as np
import pytest

from odeploy_sim.catalogue.pose_track import POSE_TRACK, POSE_TRACK_ALL
from odeploy_sim.environments.pose_track import POINTS
from odeploy_sim.tasks.env import TaskEnv
from odeploy_sim.tasks.task import Task


def sensed(env: TaskEnv) -> dict[str, float]:
    """Return every observation of the current state, by the catalogue's names."""
    inside: Any = env.env.unwrapped
    values = inside._look(inside._points(inside.data))
    return dict(zip(env.task.observation_names, values.tolist(), strict=True))


@pytest.mark.parametrize("task", POSE_TRACK, ids=lambda task: task.name)
def test_each_joint_is_observed_under_its_name(task: Task) -> None:
    with closing(TaskEnv(task)) as env:
        env.reset(1)
        inside: Any = env.env.unwrapped
        for joint in (inside.model.joint(i) for i in range(inside.model.njnt)):
            turns = joint.type[0] == mujoco.mjtJoint.mjJNT_HINGE
            for state, suffix in (
                (inside.data.qpos, "angle" if turns else "position"),
                (inside.data.qvel, "angular_velocity" if turns else "velocity"),
            ):
                before = sensed(env)
                state[joint.id] += 0.125
                after = sensed(env)
                moved = {name for name in before if before[name] != after[name] and "goal" not in name}
                assert moved == {f"{joint.name}_{suffix}"}


def test_goal_signals_are_the_vectors_from_the_robots_points_to_the_references() -> None:
    with closing(TaskEnv(POSE_TRACK_ALL)) as env:
        env.reset(1)
        inside: Any = env.env.unwrapped
        before = sensed(env)
        inside.data.qpos[:2] += 0.25, -0.5  # moves the whole robot: every point, and no angle
        after = sensed(env)
        for point in POINTS:
            assert after[f"{point}_to_goal_x"] - before[f"{point}_to_goal_x"] == pytest.approx(-0.25)
            assert after[f"{point}_to_goal_z"] - before[f"{point}_to_goal_z"] == pytest.approx(0.5)
        inside.data.qpos[2] += 0.1
        assert sensed(env)["root_pitch_to_goal"] - after["root_pitch_to_goal"] == pytest.approx(-0.1)


def test_the_camera_is_the_models_and_the_safe_action_is_zero() -> None:
    with closing(TaskEnv(POSE_TRACK_ALL)) as env:
        inside: Any = env.env.unwrapped
        assert inside.model.camera(POSE_TRACK_ALL.camera).name == "side"
    assert not np.any(POSE_TRACK_ALL.safe_action)
