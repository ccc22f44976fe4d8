"""The simulation of a task file, tick by tick."""

import pickle
from pathlib import Path

import mujoco
import numpy as np
import pytest

from odeploy_runtime.policy_file.actuation import Actuation
from odeploy_sim.mjcf.env import MjcfEnv, PdMjcfEnv
from odeploy_sim.own_tasks.reference import resolve
from odeploy_sim.tasks.env import TaskEnv
from tests.unit.sim_bridge.mjcf.models import OBSERVED, written

EXAMPLES = Path(__file__).parents[4] / "examples"
PD = 'pd = { p_gains = { hip = 40, "*" = 20 }, d_gains = 2, scale = 0.5 }\n'


def test_actuators_hold_the_action_for_all_physics_steps_of_a_tick(tmp_path: Path) -> None:
    env = TaskEnv(resolve(str(written(tmp_path, OBSERVED + "[mjcf.end]\nbase_height_m = 0.5\n"))))
    env.reset(0)
    assert isinstance(env.env.unwrapped, MjcfEnv)
    model = env.env.unwrapped.model
    alone = mujoco.MjData(model)
    mujoco.mj_resetDataKeyframe(model, alone, 0)
    alone.ctrl[:] = 0.5, -1
    mujoco.mj_step(model, alone, nstep=10)
    step = env.step(np.array([0.5, -1], np.float32))
    np.testing.assert_allclose(step.observation, alone.qpos[7:], rtol=1e-6)
    assert (step.reward, step.terminated, step.success) == (0, False, False)


def test_pd_torques_follow_their_law_and_limits(tmp_path: Path) -> None:
    path = written(tmp_path, OBSERVED + PD)
    path.write_text(path.read_text().replace("rate_hz = 50", "rate_hz = 500"))
    env = TaskEnv(resolve(str(path)))
    env.reset(0)
    inside = env.env.unwrapped
    assert isinstance(inside, PdMjcfEnv)
    env.step(np.array([0.2, -0.3], np.float32))  # one physics step, from rest at the pose
    np.testing.assert_allclose(inside.data.ctrl, [40 * 0.5 * 0.2, 20 * 0.5 * -0.3], rtol=1e-5)
    position, velocity = inside.data.qpos[7:].copy(), inside.data.qvel[6:].copy()
    env.step(np.array([0.2, -0.3], np.float32))
    law = np.array([40, 20]) * ([0.2 + 0.1, -0.4 - 0.15] - position) - 2 * velocity
    np.testing.assert_allclose(inside.data.ctrl, law, rtol=1e-5)
    env.step(np.array([1.6, -2.2], np.float32))
    np.testing.assert_allclose(inside.data.ctrl, [8, -5])


def test_a_policy_files_actuation_replaces_the_task_files(tmp_path: Path) -> None:
    task = resolve(str(written(tmp_path, OBSERVED + PD)))
    changed = task.with_actuation(Actuation(500.0, "linear"))
    assert changed.make_arguments["actuation"].pd is None
    TaskEnv(changed).close()


def test_sensors_and_positions_are_those_of_the_observed_state(tmp_path: Path) -> None:
    terms = '[{ term = "sensor", of = "gyro" }, { term = "base_angular_velocity" }]'
    env = TaskEnv(resolve(str(written(tmp_path, f"observe = {terms}\n"))))
    env.reset(0)
    for _ in range(5):
        seen = env.step(np.array([1, -1.5], np.float32)).observation
    np.testing.assert_allclose(seen[:3], seen[3:], atol=1e-6)
    assert isinstance(env.env.unwrapped, MjcfEnv)
    np.testing.assert_allclose(seen[:3], env.env.unwrapped.data.qvel[3:6], atol=1e-6)


def test_a_fall_ends_the_episode(tmp_path: Path) -> None:
    env = TaskEnv(resolve(str(written(tmp_path, OBSERVED + "end = { base_height_m = 0.85 }\n"))))
    env.reset(0)
    steps = [env.step(np.zeros(2, np.float32)) for _ in range(6)]
    assert [s.terminated for s in steps] == [False] * 5 + [True]  # 5 cm of free fall take 0.101 s


def test_a_task_travels_to_another_process(tmp_path: Path) -> None:
    task = resolve(str(written(tmp_path, OBSERVED + PD)))
    copy = pickle.loads(pickle.dumps(task))
    one, other = TaskEnv(task), TaskEnv(copy)
    assert np.array_equal(one.reset(3), other.reset(3))


@pytest.mark.parametrize(("name", "size"), [("arm", (18, 6)), ("quadruped", (33, 8))])
def test_the_examples_run(name: str, size: tuple[int, int]) -> None:
    task = resolve(str(EXAMPLES / name / f"{name}.toml"))
    env = TaskEnv(task)
    env.reset(0)
    steps = [env.step(np.zeros(size[1], np.float32)) for _ in range(20)]
    assert (len(task.observation), len(task.action)) == size
    assert not any(step.done for step in steps)
    assert len(set(task.observation_names)) == size[0]


def test_the_how_to_shows_the_arm_as_it_is() -> None:
    page = (EXAMPLES.parent / "docs/howto/bring-your-own-robot.md").read_text()
    assert (EXAMPLES / "arm/arm.toml").read_text() in page
