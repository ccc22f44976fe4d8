"""Recipes: for any order of arrivals, the prepared observation equals the one from plain lists."""

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from odeploy_runtime.policy_file.preparation import Preparation
from odeploy_runtime.policy_file.recipe import Recipe, Term
from odeploy_runtime.signals import Signal
from odeploy_runtime.typed_json import encode
from tests.unit.runtime.naive_recipe import NaiveRecipe

RATE_HZ = 50.0
RAW = Signal("angle", "rad", -3.0, 3.0, 0.5), Signal("velocity", "rad/s"), Signal("target", "m")
ACTION = Signal("knee", "rad", -1.0, 1.0), Signal("hip", "rad")
A = len(ACTION)
LEGGED = Recipe(
    raw=RAW,
    terms=(
        Term("signals", ("velocity", "angle"), (2, 1, 0)),
        Term("signals", ("target",)),
        Term("action"),
        Term("phase", period_s=0.4),
    ),
    command=("target",),
)

numbers = st.floats(-100, 100, width=32)
ages = st.lists(st.integers(0, 5), min_size=1, max_size=4).map(tuple)
names = st.lists(st.sampled_from([s.name for s in RAW]), min_size=1, max_size=4).map(tuple)
scales = st.sampled_from([None, 0.25, -2.0])


def offsets(count: int) -> st.SearchStrategy[tuple[float, ...] | None]:
    return st.none() | st.tuples(*[st.floats(-10, 10, width=32)] * count)


terms = st.one_of(
    names.flatmap(
        lambda chosen: st.builds(
            Term, st.just("signals"), st.just(chosen), ages, scale=scales, offset=offsets(len(chosen))
        )
    ),
    st.builds(Term, st.sampled_from(["action", "raw_action"]), ages=ages, scale=scales, offset=offsets(A)),
    st.builds(
        Term,
        st.just("phase"),
        ages=ages,
        period_s=st.sampled_from([0.02, 0.1, 0.7]),
        scale=scales,
        start=st.sampled_from([None, 0.25, 0.5]),
        parts=st.sampled_from([None, ("cos",), ("cos", "sin")]),
    ),
)
recipes = st.lists(terms, min_size=1, max_size=4).map(lambda made: Recipe(RAW, tuple(made)))
# Arrivals: mostly the next tick or a slightly later one, sometimes an old or repeated one, or a new episode.
arrivals = st.lists(
    st.tuples(
        st.sampled_from([0, 0, 0, 0, 1]),
        st.sampled_from([1, 1, 1, 1, 2, 3, 9, 0, -1, -4, -1000]),
        st.lists(numbers, min_size=3, max_size=3),
        st.none() | st.lists(numbers, min_size=2 * A, max_size=2 * A),
    ),
    max_size=30,
)


def prepared(recipe: Recipe, *ticks: tuple[int, int, float]) -> list[list[float]]:
    """Return the observations at ticks (episode, seq, angle); the answers are angle + 100 and + 200."""
    preparation, seen = Preparation(recipe, A, RATE_HZ), []
    for episode, seq, angle in ticks:
        seen.append(preparation.observe(episode, seq, np.array([angle, 0, 0], np.float32)).tolist())
        preparation.commit(episode, seq, np.array([angle + 100, angle + 200], np.float32))
    return seen


@given(recipes, arrivals)
def test_the_prepared_observation_equals_the_one_from_plain_lists(recipe: Recipe, sent: list[Any]) -> None:
    preparation, naive = Preparation(recipe, A, RATE_HZ), NaiveRecipe(recipe, A, RATE_HZ)
    episode, seq = 3, -1
    for next_episode, step, raw, answer in sent:
        episode, seq = episode + next_episode, max(0, seq + step)
        expected = naive.observe(episode, seq, raw)
        got = preparation.observe(episode, seq, np.array(raw, np.float32))
        np.testing.assert_allclose(got, np.array(expected, np.float32), atol=1e-4, rtol=0)
        if answer is not None:
            naive.keep(episode, seq, answer)
            numbers = np.array(answer, np.float32)
            preparation.commit(episode, seq, numbers[:A], numbers[A:] if recipe.uses_raw_action else None)


def test_the_first_observation_stands_for_all_before_it() -> None:
    history = Recipe(RAW, (Term("signals", ("angle",), (2, 1, 0)), Term("action")))
    assert prepared(history, (0, 0, 1.0), (0, 1, 2.0), (1, 0, 5.0), (1, 1, 6.0)) == [
        [1, 1, 1, 0, 0],
        [1, 1, 2, 101, 201],
        [5, 5, 5, 0, 0],
        [5, 5, 6, 105, 205],
    ]


def test_a_lost_tick_is_replaced_by_the_one_before_it() -> None:
    history = Recipe(RAW, (Term("signals", ("angle",), (3, 2, 1, 0)),))
    assert prepared(history, (0, 0, 1.0), (0, 1, 2.0), (0, 4, 3.0))[-1] == [2, 2, 2, 3]
    assert prepared(history, (0, 0, 1.0), (0, 1, 2.0), (0, 10**12, 3.0))[-1] == [2, 2, 2, 3]


def test_a_repeated_or_older_observation_does_not_change_the_history() -> None:
    history = Recipe(RAW, (Term("signals", ("angle",), (1, 0)), Term("action")))
    once = prepared(history, (0, 0, 1.0), (0, 1, 2.0), (0, 2, 3.0))
    assert prepared(history, (0, 0, 1.0), (0, 0, 1.0), (0, 1, 2.0), (0, 1, 2.0), (0, 2, 3.0))[1::2] == once[:2]
    assert prepared(history, (0, 0, 1.0), (0, 1, 2.0), (0, 0, 1.0))[-1] == [
        1,
        1,
        0,
        0,
    ]  # tick 0 restarts the history
    late = prepared(history, (0, 1, 1.0), (0, 2, 2.0), (0, 1, 9.0), (0, 3, 3.0))
    assert late[2:] == [late[1], [2, 3, 102, 202]]  # an older observation and its answer are ignored


def test_the_first_action_of_a_chunk_is_the_previous_action() -> None:
    preparation = Preparation(Recipe(RAW, (Term("action"),)), A, RATE_HZ)
    preparation.observe(0, 0, np.zeros(3, np.float32))
    preparation.commit(0, 0, np.arange(6, dtype=np.float32) + 1)
    assert preparation.observe(0, 1, np.zeros(3, np.float32)).tolist() == [1, 2]


def test_a_phase_starts_with_the_episode_and_repeats_after_its_period() -> None:
    seen = prepared(Recipe(RAW, (Term("phase", period_s=0.08),)), *((0, seq, 0.0) for seq in range(5)))
    np.testing.assert_allclose(seen, [[0, 1], [1, 0], [0, -1], [-1, 0], [0, 1]], atol=1e-7)


def test_each_leg_has_a_clock_of_its_own_start() -> None:
    legs = tuple(Term("phase", period_s=0.08, start=start, parts=("cos",)) for start in (None, 0.5))
    seen = prepared(Recipe(RAW, legs), *((0, seq, 0.0) for seq in range(3)))
    np.testing.assert_allclose(seen, [[1, -1], [0, 0], [-1, 1]], atol=1e-7)


def test_a_scaled_signal_has_another_name_unit_and_limits() -> None:
    recipe = Recipe(RAW, (Term("signals", ("angle", "velocity"), (1, 0), scale=-0.5, offset=(1.0, 0.0)),))
    angle = Signal("angle_scaled", "-2 rad", -0.5, 2.5)
    seen = recipe.observation(ACTION)
    assert seen[2:] == (angle, Signal("velocity_scaled", "-2 rad/s"))
    assert [signal.name for signal in seen[:2]] == ["angle_scaled_1_ago", "velocity_scaled_1_ago"]


def test_a_recipe_without_the_optional_fields_is_written_as_before_they_existed() -> None:
    assert encode(LEGGED)["terms"][0] == {
        "of": "signals", "names": ["velocity", "angle"], "ages": [2, 1, 0], "period_s": 0.0,
    }  # fmt: skip


def test_signals_are_named_by_quantity_and_age() -> None:
    assert [s.name for s in LEGGED.observation(ACTION)] == [
        "velocity_2_ago", "angle_2_ago", "velocity_1_ago", "angle_1_ago", "velocity", "angle",
        "target", "previous_knee", "previous_hip", "phase_0.4_s_sin", "phase_0.4_s_cos",
    ]  # fmt: skip
    angle, knee = LEGGED.observation(ACTION)[1], LEGGED.observation(ACTION)[7]
    assert (angle.unit, angle.low, angle.high) == ("rad", -3.0, 3.0)
    assert (knee.unit, knee.low, knee.high) == ("rad", -1.0, 1.0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Term("signals"), "a term of signals with names"),
        (lambda: Term("action", ("angle",)), "a term of action with names"),
        (lambda: Term("phase"), "a period of 0 s"),
        (lambda: Term("action", period_s=1.0), "a period of 1 s"),
        (lambda: Term("action", ages=()), "ages ()"),
        (lambda: Term("action", ages=(0, -1)), "ages (0, -1)"),
        (lambda: Term("action", ages=(0, 1001)), "from 0 to 1000"),
        (lambda: Recipe(RAW, (Term("signals", ("angel",)),)), "no raw signal has the name angel"),
        (lambda: Recipe(RAW, (Term("action"),), ("speed",)), "no raw signal has the name speed"),
        (lambda: Recipe((*RAW, RAW[0]), (Term("action"),)), "different names"),
        (lambda: Recipe(RAW, ()), "and terms"),
    ],
)
def test_an_invalid_recipe_is_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        make()
