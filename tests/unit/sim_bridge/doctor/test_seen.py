"""Observations as a policy sees them, behind its recipe."""

from dataclasses import replace

import numpy as np

from odeploy_runtime.policy_file.recipe import Recipe, Term
from odeploy_runtime.signals import Signal
from odeploy_sim.doctor.score import PlayerScore
from odeploy_sim.doctor.seen import seen_by
from tests.unit.sim_bridge.doctor.function_policy import FunctionPolicy, plain

RAW = Signal("angle", "rad"), Signal("speed", "rad/s")
RECIPE = Recipe(RAW, (Term("signals", ("angle",), (1, 0), scale=2.0), Term("action")))
MET = np.array([[1, 9], [2, 9], [5, 9], [6, 9]], np.float32)
PLAYED = PlayerScore(MET, np.zeros((4, 1), np.float32), (0.0, 0.0), 0, 0, 0, (2, 2))


def test_each_episode_begins_without_history_and_has_the_policys_own_answers() -> None:
    action = (Signal("knee", "rad", -99.0, 99.0),)
    described = replace(plain(), observation=RECIPE.observation(action), action=action, recipe=RECIPE)
    policy = FunctionPolicy(lambda row: row[1:2] + 0.5, described)
    assert seen_by(policy, PLAYED).tolist() == [[2, 2, 0], [2, 4, 2.5], [10, 10, 0], [10, 12, 10.5]]


def test_without_a_recipe_they_are_the_robots_own() -> None:
    assert seen_by(FunctionPolicy(lambda row: row[:2]), PLAYED) is MET
