"""The contract of a swap: what moves a robot is the same, or the operator has allowed its difference."""

from dataclasses import replace
from typing import Any

import pytest

from odeploy_runtime.errors import ContractError, UsageError
from odeploy_runtime.hot_swap.contract import (
    ALLOWABLE,
    require_allowable,
    require_same_contract,
    require_same_robot,
)
from odeploy_runtime.policy_file.actuation import PD, Actuation
from odeploy_runtime.policy_file.manifest import Manifest
from odeploy_runtime.policy_file.recipe import Recipe, Term
from odeploy_runtime.signals import Signal
from tests.unit.runtime.fakes import manifest

TORQUES = PD((20.0, 20.0), (0.5, 0.5), (0.0, 0.1), (30.0, 30.0))
PLAIN = manifest()
ACTUATED = manifest(actuation=Actuation(400.0, "hold", TORQUES))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"task": "hopper"}, "new.onnx, task: expected maze-medium as of the served policy, got hopper"),
        ({"rate_hz": 50.0}, "rate_hz: expected 100.0 as of the served policy, got 50.0"),
        ({"horizon": 4, "golden": ()}, "horizon: expected 1 "),
        (
            {"observation": (Signal("y", "m"), Signal("x", "m"), Signal("speed", "m/s"))},
            "observation, place 0: expected 'x', got 'y'",
        ),
        ({"action": (Signal("motor_y", "N"), Signal("motor_x", "N"))}, "action, place 0: expected 'motor_x'"),
    ],
)
def test_an_incompatible_policy_is_refused_with_the_difference(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ContractError, match=message):
        require_same_contract(manifest(), manifest(**changes), "new.onnx")


def test_another_method_for_the_same_robot_is_accepted() -> None:
    require_same_contract(manifest(), manifest(name="student", method="distill", provenance={}), "new.onnx")


def raw(*terms: Term, command: tuple[str, ...] = ()) -> Manifest:
    """Return the manifest of a policy whose observation a recipe makes of the usual signals."""
    recipe = Recipe(PLAIN.observation, terms, command)
    return manifest(recipe=recipe, observation=recipe.observation(PLAIN.action), golden=())


NOW, BEFORE = Term("signals", ("x", "y")), Term("signals", ("x", "y"), (1, 0))


@pytest.mark.parametrize(
    ("word", "serving", "other", "message"),
    [
        (
            "units",
            PLAIN,
            manifest(observation=(Signal("x", "mm", -4.0, 4.0), *PLAIN.observation[1:])),
            "unit of x: expected m as of the served policy, got mm;",
        ),
        (
            "units",
            PLAIN,
            manifest(action=(PLAIN.action[0], Signal("motor_y", "Nm", -1.0, 1.0))),
            "unit of motor_y: expected N as of the served policy, got Nm;",
        ),
        (
            "limits",
            PLAIN,
            manifest(action=(PLAIN.action[0], Signal("motor_y", "N", -1.0, 2.0))),
            "limits of motor_y: expected -1.0 to 1.0 as of the served policy, got -1.0 to 2.0;",
        ),
        (
            "limits",
            PLAIN,
            manifest(action=(Signal("motor_x", "N", -1.0, 1.0), PLAIN.action[1])),
            "limits of motor_x: expected -1.0 to 1.0, 0.25 a tick as of the served policy, got -1.0 to 1.0;",
        ),
        ("semantics", PLAIN, manifest(action_semantics="velocity"), "expected force as of .*, got velocity;"),
        (
            "actuation",
            PLAIN,
            ACTUATED,
            "actuation: expected the robot's own as .*, got torques by a PD law at 400",
        ),
        (
            "actuation",
            ACTUATED,
            manifest(actuation=Actuation(400.0, "linear", TORQUES)),
            "interpolation: expected hold as of the served policy, got linear;",
        ),
        (
            "actuation",
            ACTUATED,
            manifest(actuation=Actuation(400.0, "hold", replace(TORQUES, p_gains_nm_rad=(20.0, 25.0)))),
            r"p_gains_nm_rad: expected 20\.0, 20\.0 as of the served policy, got 20\.0, 25\.0;",
        ),
        ("command", raw(NOW), raw(NOW, command=("x",)), "signals from the operator: expected none as .*, got x;"),
        (
            "recipe",
            raw(NOW),
            raw(BEFORE),
            r"recipe: expected signals x y of ages \(0,\), .*, got .* of ages \(1, 0\)",
        ),
        ("recipe", PLAIN, raw(NOW), "recipe: expected the robot's signals as they are as of the served policy"),
    ],
)
def test_what_moves_a_robot_must_be_the_same_unless_it_is_allowed(
    word: str, serving: Manifest, other: Manifest, message: str
) -> None:
    with pytest.raises(ContractError, match=message) as refused:
        require_same_contract(serving, other, "new.onnx", {*ALLOWABLE} - {word})
    assert str(refused.value).endswith(f"or swap with --allow {word}")
    require_same_contract(serving, other, "new.onnx", {word})
    require_same_robot(serving, other, "new.onnx")


def test_a_long_difference_is_shortened() -> None:
    with pytest.raises(ContractError) as refused:
        require_same_contract(PLAIN, manifest(action_semantics="x" * 10_000), "new.onnx")
    assert len(str(refused.value)) < 400


@pytest.mark.parametrize(("words", "got"), [(["limit"], "limit"), (["units", ""], "an empty word")])
def test_only_known_words_can_be_allowed(words: list[str], got: str) -> None:
    require_allowable(ALLOWABLE)
    with pytest.raises(UsageError, match=f"units,limits,semantics,actuation,command,recipe, .*, got {got};"):
        require_allowable(words)
