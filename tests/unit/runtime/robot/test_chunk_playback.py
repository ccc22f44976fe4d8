"""Each tick plays the action that is meant for it, from the chunk that it should, whenever chunks come."""

import math
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from odeploy_runtime.errors import UsageError
from odeploy_runtime.robot.chunk_playback import Chunking, ChunkOptions, Chunks, Played, blend_weights


@dataclass(frozen=True)
class Said:
    """A chunk whose action i is [asked tick, tick that it is meant for]."""

    tick: int
    horizon: int

    @property
    def values(self) -> NDArray[np.float32]:
        return np.array([[self.tick, self.tick + i] for i in range(self.horizon)], np.float32)


@st.composite
def chunkings(draw: st.DrawFn) -> Chunking:
    horizon = draw(st.integers(1, 9))
    execute = draw(st.integers(1, horizon))
    return Chunking(horizon, execute, draw(st.integers(0, horizon - execute)))


def lockstep(chunking: Chunking, ticks: int) -> list[Played[Said]]:
    chunks, played = Chunks[Said](chunking), []
    for tick in range(ticks):
        if chunks.requests(tick):
            chunks.take_in_virtual_time(Said(tick, chunking.horizon))
        action = chunks.at(tick)
        assert action is not None
        played.append(action)
    return played


@given(chunkings())
def test_in_lockstep_every_tick_plays_its_own_action_of_the_chunk_that_is_due(chunking: Chunking) -> None:
    for tick, (values, chunk, place) in enumerate(lockstep(chunking, 30)):
        asked = max(0, (tick - chunking.ahead) // chunking.execute * chunking.execute)
        assert values.tolist() == [asked, tick]
        assert (chunk.tick, place) == (asked, tick - asked)


@given(st.integers(1, 9), st.integers(0, 30))
def test_with_one_action_executed_each_tick_asks_and_plays_the_first_action_of_its_answer(
    horizon: int, ticks: int
) -> None:
    chunks = Chunks[Said](Chunking(horizon))
    for tick in range(ticks):
        assert chunks.requests(tick)
        assert not chunks.covers(tick)
        assert chunks.awaited(tick) == tick
        chunks.take(Said(tick, horizon))
        played = chunks.at(tick)
        assert played is not None
        assert (played.values.tolist(), played.place) == ([tick, tick], 0)


@given(chunkings(), st.lists(st.none() | st.integers(0, 12), min_size=40, max_size=40))
def test_whenever_answers_come_what_is_played_is_meant_for_the_tick_and_within_reach(
    chunking: Chunking, delays: list[int | None]
) -> None:
    chunks, on_the_way, newest = Chunks[Said](chunking), {}, -1
    for tick, delay in enumerate(delays):
        if chunks.requests(tick) and delay is not None:
            on_the_way[tick] = tick + delay
        for asked in [a for a, comes in sorted(on_the_way.items()) if comes <= tick]:
            del on_the_way[asked]
            if asked > newest:  # as the client does
                newest = asked
                chunks.take(Said(asked, chunking.horizon))
        covered, played = chunks.covers(tick), chunks.at(tick)
        assert covered == (played is not None) == (newest >= 0 and tick - newest < chunking.reach)
        if played is not None:
            assert played.values.tolist() == [newest, tick]
            assert played.place == tick - newest


@given(chunkings(), st.lists(st.booleans(), min_size=30, max_size=30))
def test_it_is_asked_every_e_ticks_and_sooner_only_where_nothing_can_be_played(
    chunking: Chunking, answered: list[bool]
) -> None:
    chunks, last, starved = Chunks[Said](chunking), -math.inf, False
    for tick, comes in enumerate(answered):
        asks = chunks.requests(tick)
        overdue = starved and tick - last > chunking.ahead
        assert asks == (tick - last >= chunking.execute or overdue)
        if asks:
            last = tick
            if comes:
                chunks.take(Said(tick, chunking.horizon))
        starved = chunks.at(tick) is None


def test_a_chunk_that_comes_late_begins_at_the_action_for_the_tick() -> None:
    chunks = Chunks[Said](Chunking(horizon=8, execute=4, ahead=2))
    assert chunks.requests(0)
    chunks.take(Said(0, 8))
    places = []
    for tick in range(4, 9):
        chunks.requests(tick)
        if tick == 6:
            chunks.take(Said(4, 8))
        played = chunks.at(tick)
        assert played is not None
        places.append((played.chunk.tick, played.place))
    assert places == [(0, 4), (0, 5), (4, 2), (4, 3), (4, 4)]


def test_ticks_that_were_skipped_are_skipped_in_the_chunk_too() -> None:
    chunks = Chunks[Said](Chunking(horizon=8, execute=8))
    chunks.requests(0)
    chunks.take(Said(0, 8))
    played = chunks.at(5)
    assert played is not None
    assert played.values.tolist() == [0, 5]
    assert chunks.requests(9)


def test_a_new_episode_plays_nothing_of_the_one_before_and_asks_at_once() -> None:
    chunks = Chunks[Said](Chunking(horizon=8, execute=8))
    chunks.requests(0)
    chunks.take(Said(0, 8))
    chunks.begin()
    assert chunks.at(1) is None
    assert chunks.requests(1)
    assert chunks.awaited(1) == 0


def test_an_answer_to_what_was_not_asked_since_the_beginning_is_not_played() -> None:
    chunks = Chunks[Said](Chunking(horizon=8, execute=8))
    chunks.requests(3)
    chunks.begin()
    chunks.requests(5)
    for tick in (3, 6):
        chunks.take(Said(tick, 8))
    assert chunks.at(6) is None
    chunks.take(Said(5, 8))
    assert chunks.covers(6)


# ---- blending


@given(st.lists(st.integers(0, 50), min_size=1, max_size=10, unique=True), st.floats(-2, 2))
def test_blending_weights_sum_to_one_and_fall_by_exp_of_m_a_tick(ages: list[int], blend: float) -> None:
    weights = blend_weights(np.array(ages), blend)
    assert weights.sum() == pytest.approx(1)
    for age, weight in zip(ages, weights, strict=True):
        assert weight == pytest.approx(weights[0] * math.exp(-blend * (age - ages[0])), rel=1e-9)


@pytest.mark.parametrize("blend", [1e6, -1e6])
def test_a_blend_beyond_all_measure_is_the_newest_or_the_oldest_chunk(blend: float) -> None:
    expected = [0.0, 0.0, 1.0] if blend > 0 else [1.0, 0.0, 0.0]
    assert blend_weights(np.array([2, 1, 0]), blend).tolist() == expected


@given(st.integers(1, 6), st.floats(-1, 1))
def test_a_blend_is_the_weighted_mean_of_all_chunks_that_have_an_action_for_the_tick(
    execute: int, blend: float
) -> None:
    horizon = 6
    for tick, played in enumerate(lockstep(Chunking(horizon, execute, blend=blend), 25)):
        asked = [q for q in range(0, tick + 1, execute) if tick - q < horizon]
        weights = [math.exp(-blend * (tick - q)) for q in asked]
        mean = sum(w * q for w, q in zip(weights, asked, strict=True)) / sum(weights)
        np.testing.assert_allclose(played.values, [mean, tick], rtol=1e-5, atol=1e-5)
        assert played.chunk.tick == asked[-1]


def test_acts_temporal_ensembling_is_a_negative_m() -> None:
    k = 0.01
    oldest_first = np.exp(-k * np.arange(5))
    np.testing.assert_allclose(blend_weights(np.arange(5)[::-1], -k), oldest_first / oldest_first.sum())


def test_where_the_newest_chunk_is_late_those_before_are_blended() -> None:
    chunks = Chunks[Said](Chunking(horizon=4, blend=0.0))
    for tick in range(3):
        chunks.requests(tick)
        chunks.take(Said(tick, 4))
    assert not chunks.covers(3)  # so the tick waits for its own
    played = chunks.at(3)
    assert played is not None
    assert played.values.tolist() == [1, 3]


# ---- options


@pytest.mark.parametrize(
    ("options", "named", "expected"),
    [
        ({"execute": 9}, "--execute", "from 1 to 8, the number of actions in the policy's answer"),
        ({"execute": 0}, "--execute", "from 1 to 8, the number of actions in the policy's answer"),
        ({"execute": 6, "ahead": 3}, "--ahead", "from 0 to 2, what --execute 6 of a chunk of 8 leaves"),
        ({"ahead": -1}, "--ahead", "from 0 to 7, what --execute 1 of a chunk of 8 leaves"),
        ({"blend": math.inf}, "--blend", "a finite number"),
    ],
)
def test_what_a_policys_horizon_does_not_allow_is_refused_in_one_line(
    options: dict[str, float], named: str, expected: str
) -> None:
    with pytest.raises(UsageError) as raised:
        ChunkOptions(**options).chunking(8, paced=True)  # type: ignore[arg-type]
    assert (raised.value.where, raised.value.expected) == (named, expected)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("horizon", "execute", "paced", "ahead"), [(8, 4, True, 1), (8, 8, True, 0), (8, 1, True, 0), (8, 4, False, 0)]
)
def test_a_paced_robot_asks_one_tick_ahead_where_there_is_room(
    horizon: int, execute: int, paced: bool, ahead: int
) -> None:
    assert ChunkOptions(execute=execute).chunking(horizon, paced).ahead == ahead
    assert ChunkOptions(execute=execute, ahead=0).chunking(horizon, paced).ahead == 0


def test_options_become_a_command_line_again() -> None:
    assert ChunkOptions().given() == []
    options = ChunkOptions(execute=4, ahead=2, blend=-0.01)
    assert options.given() == ["--execute", "4", "--ahead", "2", "--blend", "-0.01"]
