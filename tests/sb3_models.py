"""Models of stable-baselines3 for tests: small, untrained, with random weights at trained scale."""

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.spaces import Box, Space
from numpy.typing import NDArray
from sb3_contrib import TQC, TRPO
from stable_baselines3 import A2C, DDPG, PPO, SAC, TD3
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from odeploy_sim.tasks.task import Task
from tests.policies import recorded

ALGORITHMS: dict[str, type[BaseAlgorithm]] = {
    "ppo": PPO,
    "a2c": A2C,
    "trpo": TRPO,
    "sac": SAC,
    "tqc": TQC,
    "td3": TD3,
    "ddpg": DDPG,
}
SCALE = 1.5
"""Scale of weights in units of 1/√fan_in: two and a half times torch's initial scale. From 2 on, unbounded
activations grow so much that float32 itself is no longer accurate to 1e-5."""
_ON_POLICY = ("ppo", "a2c", "trpo")


class Spaces(gymnasium.Env[Any, Any]):
    """Environment with spaces and no dynamics."""

    def __init__(self, observation: Space[Any], action: Space[Any]) -> None:
        self.observation_space, self.action_space = observation, action

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        return self.observation_space.sample(), 0.0, False, False, {}


def flat_spaces(task: Task, low: Any = -1.0, high: Any = 1.0) -> Spaces:
    """Return spaces with the task's sizes and the given limits."""
    shape = (len(task.action),)
    return Spaces(
        Box(-np.inf, np.inf, (len(task.observation),), np.float32),
        Box(np.full(shape, low, np.float32), np.full(shape, high, np.float32)),
    )


def model(
    name: str, env: gymnasium.Env[Any, Any] | VecNormalize, policy: str = "MlpPolicy", **options: Any
) -> BaseAlgorithm:
    """Return an algorithm's model, of two small layers unless `policy_kwargs` changes it."""
    small = {"net_arch": [32, 24]} | options.pop("policy_kwargs", {})
    options |= {} if name in _ON_POLICY else {"buffer_size": 10}
    made = ALGORITHMS[name](policy, env, policy_kwargs=small, seed=5, device="cpu", **options)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in made.policy.parameters():
            fan_in = parameter.shape[-1] if parameter.dim() > 1 else 4
            parameter.normal_(0, SCALE / fan_in**0.5, generator=generator)
    return made


def normalised(env: gymnasium.Env[Any, Any], task: Task, **options: Any) -> VecNormalize:
    """Return the environment in a VecNormalize with the statistics of the task's `recorded` observations."""
    made = VecNormalize(DummyVecEnv([lambda: env]), training=False, **options)
    seen = recorded(task, 256).astype(np.float64)
    assert not isinstance(made.obs_rms, dict)
    made.obs_rms.mean, made.obs_rms.var = seen.mean(axis=0), seen.var(axis=0)
    return made


def answers(
    algorithm: BaseAlgorithm, normal: VecNormalize | None, observation: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return the library's own actions. Shapes (B, O) -> (B, A)."""
    if normal is not None:
        observation = np.asarray(normal.normalize_obs(observation), np.float32)
    return np.asarray(algorithm.predict(observation, deterministic=True)[0])


def saved(algorithm: BaseAlgorithm, path: Path) -> Path:
    """Save the model as a zip; return its path."""
    algorithm.save(path)
    return path
