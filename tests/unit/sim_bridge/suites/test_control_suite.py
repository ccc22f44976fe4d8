"""The DeepMind control suite's tasks against dm_control's own models: names, limits, rates, seeds, endings."""

import dataclasses
import math
import pickle
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import minari
import numpy as np
import pytest
from minari.data_collector.episode_buffer import EpisodeBuffer
from numpy.typing import NDArray

from odeploy_runtime.signals import highs, lows
from odeploy_sim.catalogue.control_suite import (
    CARTPOLE_BALANCE,
    FINGER_SPIN,
    FINGER_TURN_EASY,
    FISH_SWIM,
    POINT_MASS,
    SUITE,
)
from odeploy_sim.demonstrations.dataset import load
from odeploy_sim.tasks.env import Step, TaskEnv
from odeploy_sim.tasks.task import Task

HINGE, SLIDE = 3, 2  # of mjtJoint


@pytest.fixture(scope="module", params=SUITE, ids=lambda task: task.name)
def env(request: pytest.FixtureRequest) -> Iterator[TaskEnv]:
    made = TaskEnv(request.param)
    yield made
    made.close()


def inside(env: TaskEnv) -> Any:
    """Return dm_control's environment."""
    return env.env.unwrapped


def moved(env: TaskEnv, seed: int, ticks: int) -> list[Step]:
    """Play the first ticks of an episode under random actions."""
    env.reset(seed)
    actions = np.random.default_rng(seed).uniform(-1, 1, (ticks, len(env.task.action))).astype(np.float32)
    return [env.step(action) for action in actions]


def bits(steps: list[Step]) -> list[tuple[bytes, float]]:
    return [(step.observation.tobytes(), step.reward) for step in steps]


def truths(env: TaskEnv) -> dict[str, float]:
    """Return the model's current values by the catalogue's names: joints by rule, the rest one by one."""
    physics = inside(env).physics
    data, model = physics.named.data, physics.model
    truth: dict[str, float] = {}
    for i in range(model.njnt):
        name, kind = model.id2name(i, "joint"), model.jnt_type[i]
        if kind in (HINGE, SLIDE):
            position, velocity = ("angle", "angular_velocity") if kind == HINGE else ("position", "velocity")
            truth[f"{name}_{position}"] = physics.data.qpos[model.jnt_qposadr[i]]
            truth[f"{name}_{velocity}"] = physics.data.qvel[model.jnt_dofadr[i]]
    domain = env.task.name.split("-")[0]
    if domain == "cartpole":
        truth["hinge_1_cosine"] = math.cos(truth["hinge_1_angle"])
        truth["hinge_1_sine"] = math.sin(truth["hinge_1_angle"])
    if domain == "finger":
        tip, target, hinge = data.site_xpos["tip"], data.site_xpos["target"], data.xanchor["hinge"]
        for name, site in (("tip", tip), ("target", target)):
            truth[f"hinge_to_{name}_x"], _, truth[f"hinge_to_{name}_z"] = site - hinge
        truth["tip_to_target_surface"] = math.dist(tip, target) - physics.named.model.site_size["target", 0]
        for name in ("touchtop", "touchbottom"):
            truth[f"{name}_log_force"] = math.log(1 + data.sensordata[name][0])
    if domain == "fish":
        _, x, y, _ = data.qpos["root"][3:7]
        truth["torso_upright_cosine"] = 1 - 2 * (x**2 + y**2)
        seen = data.geom_xmat["mouth"].reshape(3, 3).T @ (data.geom_xpos["target"] - data.geom_xpos["mouth"])
        for i, axis in enumerate("xyz"):
            truth[f"mouth_to_target_{axis}"] = seen[i]
            truth[f"torso_velocity_{axis}"] = data.qvel["root"][i]
            truth[f"torso_{axis}_angular_velocity"] = data.qvel["root"][3 + i]
    if domain == "reacher":
        q1, q2 = truth["shoulder_angle"], truth["wrist_angle"]
        x, y, _ = data.geom_xpos["target"]
        truth["finger_to_target_x"] = x - 0.12 * (math.cos(q1) + math.cos(q1 + q2))
        truth["finger_to_target_y"] = y - 0.12 * (math.sin(q1) + math.sin(q1 + q2))
    return truth


def test_every_observation_is_the_quantity_in_its_name(env: TaskEnv) -> None:
    env.reset(3)
    generator = np.random.default_rng(3)
    for _ in range(40):
        step = env.step(generator.uniform(-1, 1, len(env.task.action)).astype(np.float32))
        truth = truths(env)
        expected = {name: truth[name] for name in env.task.observation_names}
        seen = dict(zip(env.task.observation_names, step.observation.tolist(), strict=True))
        assert seen == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_the_two_touch_sensors_are_observed_separately() -> None:
    env = TaskEnv(FINGER_SPIN)
    steps = [step for seed in range(12) for step in moved(env, seed, 50)]
    touches = np.stack([step.observation[-2:] for step in steps])
    assert touches.max() > 0
    assert touches.min() == 0
    assert env.task.observation_names[-2:] == ("touchtop_log_force", "touchbottom_log_force")
    sensors = inside(env).physics.named.data.sensordata
    sensors["touchtop"], sensors["touchbottom"] = math.e - 1, 0
    np.testing.assert_allclose(inside(env).physics.touch(), [1, 0], rtol=1e-15)
    env.close()


@pytest.mark.parametrize("task", [t for t in SUITE if t is not FISH_SWIM], ids=lambda task: task.name)
def test_every_motor_drives_the_joint_in_its_name_with_the_strength_in_its_unit(task: Task) -> None:
    env = TaskEnv(task)
    physics = inside(env).physics
    for i, signal in enumerate(env.task.action):
        physics.data.ctrl[:] = np.eye(len(env.task.action))[i]
        physics.forward()
        joint, _, quantity = signal.name.rpartition("_")
        strength, _, unit = signal.unit.partition(" ")
        driven = physics.named.data.qfrc_actuator[joint]
        assert driven == float(strength)
        assert np.count_nonzero(physics.data.qfrc_actuator) == 1
        hinge = physics.named.model.jnt_type[joint] == HINGE
        assert (quantity, unit) == (("torque", "N·m") if hinge else ("force", "N"))
    env.close()


def test_the_springs_of_the_fish_are_at_rest_if_commands_equal_the_angles() -> None:
    env = TaskEnv(FISH_SWIM)
    moved(env, 2, 20)
    physics = inside(env).physics
    angle = {name: physics.named.data.qpos[name][0] for name in ("tail1", "tail_twist")}
    angle |= {name: physics.named.data.qpos[name][0] for name in ("finleft_pitch", "finright_pitch")}
    right, left = (physics.named.data.qpos[f"fin{side}_roll"][0] for side in ("right", "left"))
    angle["fins_flap"] = (right - left) / 2
    assert len({round(a, 6) for a in angle.values()}) == 5
    physics.data.ctrl[:] = [angle[name.removesuffix("_target_angle")] for name in env.task.action_names]
    physics.forward()
    np.testing.assert_allclose(physics.data.actuator_force, 0, atol=1e-12)
    env.close()


def test_action_limits_are_those_of_the_model(env: TaskEnv) -> None:
    ranges = inside(env).physics.model.actuator_ctrlrange
    np.testing.assert_array_equal(np.stack([lows(env.task.action), highs(env.task.action)], axis=1), ranges)


def test_rate_physics_step_and_horizon_are_those_of_dm_control(env: TaskEnv) -> None:
    suite = inside(env)
    assert env.task.rate_hz == pytest.approx(1 / suite.control_timestep(), rel=1e-12)
    assert env.task.physics_step_s == suite.physics.timestep()
    env.reset(0)
    env.step(np.array(env.task.safe_action, np.float32))
    assert suite.physics.time() == pytest.approx(1 / env.task.rate_hz, rel=1e-9)


def test_a_trajectory_depends_bit_for_bit_only_on_the_seed(env: TaskEnv) -> None:
    first, other = moved(env, 7, 60), moved(env, 8, 60)
    assert bits(moved(env, 7, 60)) == bits(first)
    assert bits(other) != bits(first)
    fresh = TaskEnv(env.task)
    assert bits(moved(fresh, 7, 60)) == bits(first)
    fresh.close()


def test_the_horizon_truncates_and_rewards_and_observations_stay_within_limits(env: TaskEnv) -> None:
    steps = moved(env, 1, 1000)
    assert [i for i, step in enumerate(steps) if step.truncated] == [999]
    assert not any(step.terminated or step.invalid for step in steps)
    assert all(0 <= step.reward <= 1 for step in steps)
    low, high = lows(env.task.observation), highs(env.task.observation)
    seen = np.stack([step.observation for step in steps])
    assert (seen >= low).all()
    assert (seen <= high).all()


@pytest.mark.parametrize("broken", ["state", "control"])
def test_a_diverging_simulation_ends_the_episode_as_invalid_and_the_next_one_is_valid(broken: str) -> None:
    env = TaskEnv(POINT_MASS)
    before = env.reset(0)
    if broken == "state":
        inside(env).physics.data.qvel[:] = 1e12
    step = env.step(np.full(2, math.nan if broken == "control" else 0.0, np.float32))
    assert (step.invalid, step.terminated, step.truncated, step.reward) == (True, True, False, 0.0)
    np.testing.assert_array_equal(step.observation, before)
    assert env.invalid_episodes == 1
    assert not any(s.invalid for s in moved(env, 0, 20))
    env.close()


def played(env: TaskEnv, ticks: int) -> tuple[dict[str, NDArray[np.float64]], NDArray[np.float32]]:
    """Return raw observations of some ticks, stacked by key as in Minari, and the same ones flat."""
    flat, raws = [env.reset(5)], [env.raw]
    for action in np.random.default_rng(5).uniform(-1, 1, (ticks, len(env.task.action))).astype(np.float32):
        flat.append(env.step(action).observation)
        raws.append(env.raw)
    return {key: np.stack([raw[key] for raw in raws]) for key in env.task.observation_keys}, np.stack(flat)


def test_stacked_observations_are_flattened_as_one_by_one(env: TaskEnv) -> None:
    stack, flat = played(env, 4)
    assert flat.shape == (5, len(env.task.observation))
    np.testing.assert_array_equal(env.task.flatten(stack), flat)


@pytest.mark.parametrize("task", [FISH_SWIM, FINGER_TURN_EASY], ids=lambda task: task.name)
def test_observations_with_scalars_are_loaded_from_minari_unchanged(
    task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    env = TaskEnv(task)
    stack, flat = played(env, 6)
    assert {part.ndim for part in stack.values()} == {1, 2}
    actions = np.linspace(-1, 1, 6 * len(task.action), dtype=np.float32).reshape(6, -1)
    buffer = EpisodeBuffer(
        id=0,
        seed=5,
        observations=stack,
        actions=actions,
        rewards=[0.0] * 6,
        terminations=[False] * 6,
        truncations=[False] * 5 + [True],
        infos={},
    )
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    with warnings.catch_warnings():  # about a dataset without an author
        warnings.simplefilter("ignore")
        minari.create_dataset_from_buffers("demo-v0", [buffer], env=env.env)
    env.close()
    loaded = load(str(tmp_path / "demo-v0"), task)
    np.testing.assert_array_equal(loaded.observations, flat[:-1])
    np.testing.assert_array_equal(loaded.actions, actions)


def test_the_camera_is_the_tasks_and_exists_in_the_model(env: TaskEnv) -> None:
    filming = TaskEnv(env.task, render_mode="rgb_array")
    assert inside(filming).render_kwargs["camera_id"] == env.task.camera
    assert inside(filming).physics.model.name2id(env.task.camera, "camera") >= 0
    filming.close()


def test_without_a_camera_the_suites_free_one_is_used() -> None:
    filming = TaskEnv(dataclasses.replace(CARTPOLE_BALANCE, camera=None), render_mode="rgb_array")
    assert inside(filming).render_kwargs["camera_id"] == -1
    filming.close()


def test_an_unpickled_environment_is_the_same_task() -> None:
    env = TaskEnv(POINT_MASS)
    again = pickle.loads(pickle.dumps(env.env.unwrapped))
    for key, value in again.reset(seed=4)[0].items():
        np.testing.assert_array_equal(value, env.env.reset(seed=4)[0][key])
    again.close()
    env.close()
