"""Episodes from drawn starts: EnvPool's are dm_control's and gymnasium-robotics', and so are its starts."""

from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from scipy.stats import ks_2samp

from odeploy_sim.catalogue import get
from odeploy_sim.tasks.env import TaskEnv, episode_seed
from odeploy_sim.tasks.task import Task
from odeploy_sim.tasks.vector import make_vector
from odeploy_sim.tasks.vector_env import Stepped
from odeploy_sim.tasks.vector_envpool import POOLS, EnvpoolVectorEnv

envpool = pytest.importorskip("envpool", reason="EnvPool is not installed: pip install 'odeploy[envpool]'")
pytestmark = pytest.mark.envpool

ENVS, HORIZON = 4, 120
VELOCITY = slice(11, 14)  # a fish's, in the world
Raw = Mapping[str, NDArray[np.float64]]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Change the working directory, where EnvPool's MuJoCo writes its warnings."""
    monkeypatch.chdir(tmp_path)


def place_joints(physics: Any, seen: Raw) -> None:
    with physics.reset_context():
        physics.data.qpos[:], physics.data.qvel[:] = seen["position"], seen["velocity"]


def place_cartpole(physics: Any, seen: Raw) -> None:
    slider, cosine, sine = seen["position"]
    place_joints(physics, {**seen, "position": np.array([slider, np.arctan2(sine, cosine)])})


def place_cheetah(physics: Any, seen: Raw) -> None:
    place_joints(physics, {**seen, "position": np.append(0, seen["position"])})  # x is not observed


def place_reacher(physics: Any, seen: Raw) -> None:
    place_joints(physics, seen)
    finger = physics.named.data.geom_xpos["finger", :2]
    physics.named.model.geom_pos["target", :2] = finger + seen["to_target"]
    physics.forward()


def place_fish(physics: Any, seen: Raw) -> None:
    data = physics.named.data
    with physics.reset_context():
        data.qpos["root"][3:] = seen.get("orientation", [1, 0, 0, 0])  # not observed
        data.qpos[7:] = seen["joint_angles"]
    mouth = data.geom_xmat["mouth"].reshape(3, 3)
    physics.named.model.geom_pos["target"] = data.geom_xpos["mouth"] + mouth @ seen["target"]
    physics.forward()


# dm_control's physics in the state of an observation.
PLACES: dict[str, Callable[[Any, Raw], None]] = {
    "cartpole-balance": place_cartpole,
    "cheetah-run": place_cheetah,
    "fish-swim": place_fish,
    "point-mass": place_joints,
    "reacher-easy": place_reacher,
    "reacher-hard": place_reacher,
}


def placed(task: Task, seen: Raw) -> TaskEnv:
    """Return our simulation in the state of EnvPool's raw observation."""
    env = TaskEnv(task)
    inside: Any = env.env.unwrapped
    env.reset(0)
    if task.name in PLACES:
        PLACES[task.name](inside._env.physics, seen)
    else:
        inside.goal = seen["desired_goal"].copy()
        inside.point_env.set_state(*np.split(seen["observation"], 2))
    return env


def starts(task: Task, seed: int, count: int) -> list[list[Raw]]:
    """Return EnvPool's raw starts of successive episodes, which are those of a vector with that seed."""
    seeds = [episode_seed(seed, i) >> 1 for i in range(ENVS)]
    pool = envpool.make_gymnasium(POOLS[task.name], num_envs=ENVS, seed=seeds)
    drawn = [pool.reset()[0] for _ in range(count)]
    return [[{key: value[i] for key, value in raw.items()} for i in range(ENVS)] for raw in drawn]


def orientation(task: Task, seen: Raw, played: NDArray[Any], actions: NDArray[Any]) -> NDArray[np.float64]:
    """Return the quaternion of a fish at its start, from the velocities of an episode. Shape (4,).

    Water without gravity is alike in all directions, so a fish that starts unrotated has the same velocities but
    for that rotation.
    """
    env = placed(task, seen)
    unrotated = np.array([env.step(action).observation[VELOCITY] for action in actions])
    rotation, rssd = Rotation.align_vectors(played[:, VELOCITY], unrotated)
    assert rssd < 1e-4
    quaternion: NDArray[np.float64] = np.roll(rotation.as_quat(), 1)  # scalar first, as in MuJoCo
    return quaternion


def actions_for(task: Task) -> NDArray[np.float32]:
    """Return actions that change slowly, so that robots get somewhere."""
    drawn = np.random.default_rng(5).uniform(-1, 1, (HORIZON // 10, ENVS, len(task.action)))
    return np.repeat(drawn, 10, axis=0).astype(np.float32)


@pytest.mark.parametrize(("name", "seed"), [*((name, 12) for name in PLACES), ("maze-medium", 10)])
def test_an_episode_is_ours_from_the_same_start(name: str, seed: int) -> None:
    """From the starts of these seeds random actions earn rewards on every task."""
    task, fish = replace(get(name), horizon=HORIZON), name == "fish-swim"
    atol = 1e-4 if fish else 0.0  # only a fish's start is an estimate
    begun, later = starts(task, seed, 2)
    actions = actions_for(task)
    with closing(EnvpoolVectorEnv(task, ENVS, seed, threads=2)) as vector:
        first, _ = vector.reset()
        steps = [vector.step(a) for a in actions]
    if fish:
        played = [np.array([after(step, i) for step in steps]) for i in range(ENVS)]
        begun = [
            {**seen, "orientation": orientation(task, seen, played[i], actions[:, i])}
            for i, seen in enumerate(begun)
        ]
    ends = []
    for i, seen in enumerate(begun):
        np.testing.assert_array_equal(first[i], task.flatten(seen))
        env = placed(task, seen)
        for step, action in zip(steps, actions[:, i], strict=True):
            observations, rewards, terminated, truncated, info = step
            ours = env.step(action)
            np.testing.assert_allclose(after(step, i), ours.observation, rtol=0, atol=atol)
            assert rewards[i] == pytest.approx(ours.reward, rel=1e-6, abs=max(atol, 1e-6))
            assert (terminated[i], truncated[i], info["success"][i]) == (
                ours.terminated,
                ours.truncated,
                ours.success,
            )
            if ours.done:
                np.testing.assert_array_equal(observations[i], task.flatten(later[i]))
                ends.append(ours.terminated)
                break
    assert len(ends) == ENVS
    assert sum(step[1].max() > 0 for step in steps) > 1
    assert any(ends) is (name == "maze-medium")


def after(step: Stepped, i: int) -> NDArray[np.float32]:
    """Return what an environment led to: its episode's last observation, if that ended."""
    last: NDArray[np.float32] = step[0][i] if not (step[2] | step[3])[i] else step[4]["final_obs"][i]
    return last


@pytest.mark.parametrize("name", [*PLACES, "maze-medium"])
def test_starts_are_drawn_alike(name: str) -> None:
    task, count = get(name), 400
    env = TaskEnv(task)
    ours = np.stack([env.reset(seed) for seed in range(count)])
    with closing(make_vector(task, 50, backend="envpool")) as vector:
        theirs = np.concatenate([vector.reset()[0] for _ in range(count // 50)])
    assert len(np.unique(theirs, axis=0)) == count
    p = [ks_2samp(ours[:, j], theirs[:, j]).pvalue for j in range(ours.shape[1])]
    assert min(p) > 1e-3
    varies = ours.std(axis=0) > 0
    np.testing.assert_array_equal(theirs.std(axis=0) > 0, varies)
    np.testing.assert_allclose(np.corrcoef(ours[:, varies].T), np.corrcoef(theirs[:, varies].T), atol=0.25)
