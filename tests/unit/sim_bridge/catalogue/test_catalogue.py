"""The catalogue against the simulations: each name, limit and rate is the model's."""

from typing import Any

import numpy as np
import pytest

from odeploy_runtime.errors import MissingError
from odeploy_runtime.signals import highs, lows
from odeploy_sim.catalogue import TASKS, get
from odeploy_sim.tasks.env import TaskEnv, physics_data
from odeploy_sim.tasks.task import Task

each_task = pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)


def inside(env: TaskEnv) -> Any:
    """Return the gymnasium environment without its wrappers: model, data, goal."""
    return env.env.unwrapped


@each_task
def test_a_task_is_found_by_its_name(task: Task) -> None:
    assert get(task.name) is task
    assert TASKS[task.name] is task


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [("maze", "maze-medium"), ("hoper", "hopper"), ("fetch_reach", "fetch-reach"), ("zzz", "maze-medium")],
)
def test_an_unknown_name_is_refused_with_the_nearest_ones(name: str, suggestion: str) -> None:
    with pytest.raises(MissingError) as raised:
        get(name)
    assert suggestion in raised.value.expected
    assert raised.value.got == repr(name)


@each_task
def test_names_are_unique_within_their_vector_and_every_signal_has_a_unit(task: Task) -> None:
    for names, signals in ((task.observation_names, task.observation), (task.action_names, task.action)):
        assert len(set(names)) == len(names)
        assert all(signal.unit for signal in signals)


@each_task
def test_the_safe_action_is_within_the_limits_of_its_signals(task: Task) -> None:
    safe = np.array(task.safe_action, np.float32)
    assert safe.shape == (len(task.action),)
    assert (safe >= lows(task.action)).all()
    assert (safe <= highs(task.action)).all()


def test_action_limits_are_those_of_the_simulation(env: TaskEnv) -> None:
    space: Any = env.env.action_space
    np.testing.assert_array_equal(lows(env.task.action), space.low)
    np.testing.assert_array_equal(highs(env.task.action), space.high)


def test_the_rate_is_that_of_simulated_time(env: TaskEnv) -> None:
    env.reset(0)
    data = physics_data(env.env)
    if data is None:
        assert env.task.physics_step_s is None
        return
    before = data.time
    for _ in range(4):
        env.step(np.array(env.task.safe_action, np.float32))
    assert (data.time - before) / 4 == pytest.approx(1 / env.task.rate_hz, rel=1e-9)


def test_observations_stay_within_their_limits(env: TaskEnv) -> None:
    generator = np.random.default_rng(0)
    low, high = lows(env.task.observation), highs(env.task.observation)
    for seed in range(3):
        seen = [env.reset(seed)]
        for _ in range(60):
            action = generator.uniform(-1, 1, len(env.task.action)).astype(np.float32)
            step = env.step(action)
            seen.append(step.observation)
            if step.done:
                break
        assert (np.array(seen) >= low).all()
        assert (np.array(seen) <= high).all()


def sensed(env: TaskEnv) -> dict[str, float]:
    """Return each observation by its name, a few ticks into an episode."""
    env.reset(5)
    action = np.linspace(0.2, 0.9, len(env.task.action), dtype=np.float32)
    for _ in range(4):
        observation = env.step(action).observation
    return dict(zip(env.task.observation_names, observation.tolist(), strict=True))


def test_the_mazes_signals_are_the_models(maze: TaskEnv) -> None:
    seen, data, goal = sensed(maze), inside(maze).data, inside(maze).goal
    truth = {
        "ball_x": data.qpos[0],
        "ball_y": data.qpos[1],
        "ball_velocity_x": data.qvel[0],
        "ball_velocity_y": data.qvel[1],
        "goal_x": goal[0],
        "goal_y": goal[1],
    }
    assert seen == pytest.approx(truth, rel=1e-6)


def test_the_hoppers_signals_are_its_joints() -> None:
    env = TaskEnv(TASKS["hopper"])
    seen, model, data = sensed(env), inside(env).model, inside(env).data
    truth = {}
    for joint in (model.joint(i) for i in range(model.njnt)):
        name = joint.name.removesuffix("_joint")
        position, velocity = data.qpos[joint.qposadr[0]], np.clip(data.qvel[joint.dofadr[0]], -10, 10)
        hinge = joint.type[0] == 3
        suffix = "" if name.startswith("root") else "_joint"
        truth[f"{name}{suffix}_{'angle' if hinge else 'position'}"] = position
        truth[f"{name}{suffix}_{'angular_velocity' if hinge else 'velocity'}"] = velocity
    del truth["rootx_position"]
    actuators = [model.actuator(i).trnid[0] for i in range(model.nu)]
    assert seen == pytest.approx(truth, rel=1e-5)
    assert [f"{model.joint(j).name}_torque" for j in actuators] == list(env.task.action_names)
    assert all(model.actuator(i).gear[0] == 200 for i in range(model.nu))
    env.close()


def test_the_arms_signals_are_the_models() -> None:
    env = TaskEnv(TASKS["fetch-reach"])
    seen, model, data, goal = sensed(env), inside(env).model, inside(env).data, inside(env).goal
    gripper = data.site("robot0:grip").xpos
    fingers = {side: data.joint(f"robot0:{side[0]}_gripper_finger_joint").qpos[0] for side in ("right", "left")}
    truth = dict(zip(("gripper_x", "gripper_y", "gripper_z"), gripper, strict=True))
    truth |= {f"{side}_finger_position": position for side, position in fingers.items()}
    truth |= dict(zip(("goal_x", "goal_y", "goal_z"), goal, strict=True))
    assert {name: seen[name] for name in truth} == pytest.approx(truth, rel=1e-5, abs=1e-7)
    assert model.opt.timestep * inside(env).n_substeps == pytest.approx(1 / env.task.rate_hz)
    env.close()
