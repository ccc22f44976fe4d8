"""What an answer depends on besides what is sensed: the same for every exchanged policy that wants the same."""

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


def test_without_a_recipe_the_policy_sees_what_the_robot_sent() -> None:
    values = sensed(1.0)
    assert PolicyState(manifest(), 0).observe(0, 0, values) is values


def test_an_exchanged_policy_goes_on_with_an_equal_recipe_and_begins_anew_with_another() -> None:
    state = PolicyState(looking_at(2, 1, 0), 0)
    assert [state.observe(0, seq, sensed(seq)).tolist() for seq in (0, 1)] == [[0, 0, 0], [0, 0, 1]]
    state.renew(looking_at(2, 1, 0))
    assert state.observe(0, 2, sensed(2)).tolist() == [0, 1, 2]
    state.renew(looking_at(0, 1))
    assert state.observe(0, 3, sensed(3)).tolist() == [3, 3]


def test_an_exchanged_policy_gets_a_ticks_own_draws_in_its_own_shape() -> None:
    state, wide = PolicyState(manifest(), 7), manifest(noise=Noise("normal", (4, 1, 2)), sampler=FOUR, golden=())
    narrow = state.prepare(FakePolicy(manifest()), 1, 0, 5, sensed(0))[1].copy()
    state.renew(wide)
    drawn = state.prepare(FakePolicy(wide), 2, 0, 5, sensed(0))[1]
    assert drawn.shape == (1, 4, 1, 2)
    assert drawn.reshape(-1)[: narrow.size].tolist() == narrow.reshape(-1).tolist()
