"""Demonstrations by a function: the recorded actions are its own, in a task that a callable makes."""

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray

from odeploy_runtime.signals import Signal
from odeploy_sim.demonstrations.card import read_card
from odeploy_sim.demonstrations.dataset import load
from odeploy_sim.demonstrations.own_expert import collect
from odeploy_sim.tasks.task import Task


class Cart(gymnasium.Env[NDArray[np.float64], NDArray[np.float32]]):
    observation_space, action_space = Box(-9, 9, (2,), np.float64), Box(-1, 1, (1,))

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[NDArray[np.float64], dict[str, Any]]:
        super().reset(seed=seed)
        self.state = self.np_random.uniform(-1, 1, 2)
        return self.state, {}

    def step(self, action: NDArray[np.float32]) -> Any:
        self.state = self.state + 0.1 * np.array([self.state[1], action[0]])
        return self.state, 1.0, False, False, {}


SIGNALS = (Signal("x", "m"), Signal("speed", "m/s")), (Signal("push", "N", -1, 1),)
TASK = Task("cart", *SIGNALS, rate_hz=50, horizon=20, make=Cart)


def brake(observation: NDArray[np.float32]) -> list[float]:
    return [-0.5 * float(observation[1])]


def test_a_functions_episodes_are_recorded(tmp_path: Path) -> None:
    card = collect(TASK, brake, tmp_path / "cart-v0", episodes=3)
    assert (card.episodes, card.transitions, card.return_mean) == (3, 60, 20.0)
    assert (card.expert.kind, card.expert.name) == ("scripted", "brake")
    assert read_card(tmp_path / "cart-v0") == card
    demonstrations = load(str(tmp_path / "cart-v0"), TASK)
    np.testing.assert_allclose(demonstrations.actions[:, 0], -0.5 * demonstrations.observations[:, 1], atol=1e-6)


def test_a_callable_object_and_a_builtin_are_experts_too(tmp_path: Path) -> None:
    class Still:
        def __call__(self, _: NDArray[np.float32]) -> list[float]:
            return [0.0]

    first = collect(TASK, Still(), tmp_path / "a-v0", episodes=1)
    second = collect(TASK, min, tmp_path / "b-v0", episodes=1, seed=1)  # the smallest number, without a source
    assert first.expert.name == "Still"
    assert first.expert.fingerprint != second.expert.fingerprint
