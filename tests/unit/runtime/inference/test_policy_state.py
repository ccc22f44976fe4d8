"""Policy state: kept across a swap to a policy with the same recipe."""

from typing import Any

import numpy as np

from odeploy_runtime.inference.policy_state import PolicyState
from odeploy_runtime.policy_file.manifest import Manifest, Noise, Sampler
from odeploy_runtime.policy_file.recipe import Recipe, Term
from odeploy_runtime.signals import Signal
from tests.unit.runtime.fakes import FakePolicy, Floats, manifest

RAW = Signal("angle", "rad"), Signal("goal", "m")
FOUR = Sampler("euler", 2, (0.0, 0.5, 1.0), candidates=4)
NO_FLOW: dict[str, Any] = {"kind": "mlp", "sampler": None, "noise": Noise("none"), "golden": ()}


def looking_at(*ages: int) -> Manifest:
    recipe = Recipe(RAW, (Term("signals", ("angle",), ages),))
    return manifest(**NO_FLOW, observation=recipe.observation(manifest().action), recipe=recipe)


def sensed(angle: float) -> Floats:
    return np.array([angle, 0.0], np.float32)


def test_without_a_recipe_the_policy_gets_the_robots_observation() -> None:
    values = sensed(1.0)
    assert PolicyState(manifest(), 0).observe(0, 0, values) is values


def test_a_swap_keeps_the_history_for_an_equal_recipe_and_resets_it_for_another() -> None:
    state = PolicyState(looking_at(2, 1, 0), 0)
    assert [state.observe(0, seq, sensed(seq)).tolist() for seq in (0, 1)] == [[0, 0, 0], [0, 0, 1]]
    state.renew(looking_at(2, 1, 0))
    assert state.observe(0, 2, sensed(2)).tolist() == [0, 1, 2]
    state.renew(looking_at(0, 1))
    assert state.observe(0, 3, sensed(3)).tolist() == [3, 3]


def test_after_a_swap_a_ticks_noise_has_the_new_shape_and_the_same_draws() -> None:
    state, wide = PolicyState(manifest(), 7), manifest(noise=Noise("normal", (4, 1, 2)), sampler=FOUR, golden=())
    narrow = state.prepare(FakePolicy(manifest()), 1, 0, 5, sensed(0))[1].copy()
    state.renew(wide)
    drawn = state.prepare(FakePolicy(wide), 2, 0, 5, sensed(0))[1]
    assert drawn.shape == (1, 4, 1, 2)
    assert drawn.reshape(-1)[: narrow.size].tolist() == narrow.reshape(-1).tolist()
