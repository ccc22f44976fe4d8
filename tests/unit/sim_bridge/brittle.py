"""A task whose actions can break the simulation or end its process, for tests of code that steps simulations."""

import os
from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray

from odeploy_runtime.signals import Signal
from odeploy_sim.tasks.task import Task

BREAK, DIE = 0.5, -0.5


class BrittleEnv(gymnasium.Env[NDArray[np.float64], NDArray[np.float32]]):
    """Observations are start and age; an action above BREAK gives NaN, one below DIE ends the process."""

    observation_space = Box(-np.inf, np.inf, (2,), np.float64)
    action_space = Box(-1, 1, (1,), np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float64], dict[str, Any]]:
        super().reset(seed=seed)
        self.state = np.array([self.np_random.random(), 0.0])
        return self.state.copy(), {}

    def step(self, action: NDArray[np.float32]) -> tuple[NDArray[np.float64], float, bool, bool, dict[str, Any]]:
        if action[0] < DIE:
            os._exit(3)
        self.state[1] += np.nan if action[0] > BREAK else 1
        return self.state.copy(), float(action[0]), False, False, {}


BRITTLE = Task(
    name="brittle",
    gym_id="test/Brittle-v0",
    entry_point=f"{__name__}:BrittleEnv",
    summary="",
    observation=(Signal("start", "1"), Signal("age", "tick")),
    action=(Signal("push", "1", -1.0, 1.0),),
    rate_hz=10.0,
    physics_step_s=None,
    horizon=5,
    safe_action=(0.0,),
    paper="",
    differs="",
)


FRAGILE_FROM = 0.6


class FragileEnv(BrittleEnv):
    """Environment that breaks at its third tick in episodes with a start above FRAGILE_FROM."""

    def step(self, action: NDArray[np.float32]) -> tuple[NDArray[np.float64], float, bool, bool, dict[str, Any]]:
        if self.state[0] > FRAGILE_FROM and self.state[1] >= 2:
            self.state[1] = np.nan
        self.state[1] += 1
        return self.state.copy(), float(self.state[0]), False, False, {}


FRAGILE = replace(BRITTLE, name="fragile", gym_id="test/Fragile-v0", entry_point=f"{__name__}:FragileEnv")


def push(*values: float) -> NDArray[np.float32]:
    return np.array(values, np.float32)[:, None]
