"""Each tick plays its own action from the right chunk, for any arrival times."""

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
class FakeChunk:
    """Chunk whose action i is [tick of the request, tick of the action]."""

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


def lockstep(chunking: Chunking, ticks: int) -> list[Played[FakeChunk]]:
    chunks, played = Chunks[FakeChunk](chunking), []
    for tick in range(ticks):
        if chunks.requests(tick):
            chunks.take_in_virtual_time(FakeChunk(tick, chunking.horizon))
        action = chunks.at(tick)
        assert action is not None
        played.append(action)
    return played


@given(chunkings())
def test_in_lockstep_every_tick_plays_its_action_of_the_due_chunk(chunking: Chunking) -> None:
    for tick, (values, chunk, place) in enumerate(lockstep(chunking, 30)):
        requested = max(0, (tick - chunking.ahead) // chunking.execute * chunking.execute)
        assert values.tolist() == [requested, tick]
        assert (chunk.tick, place) == (requested, tick - requested)


@given(st.integers(1, 9), st.integers(0, 30))
def test_with_one_executed_action_each_tick_requests_and_plays_its_chunks_first_action(
    horizon: int, ticks: int
) -> None:
    chunks = Chunks[FakeChunk](Chunking(horizon))
    for tick in range(ticks):
        assert chunks.requests(tick)
        assert not chunks.covers(tick)
        assert chunks.awaited(tick) == tick
        chunks.take(FakeChunk(tick, horizon))
        played = chunks.at(tick)
        assert played is not None
        assert (played.values.tolist(), played.place) == ([tick, tick], 0)


@given(chunkings(), st.lists(st.none() | st.integers(0, 12), min_size=40, max_size=40))
def test_for_any_delays_the_played_action_is_the_ticks_and_within_reach(
    chunking: Chunking, delays: list[int | None]
) -> None:
    chunks, in_flight, newest = Chunks[FakeChunk](chunking), {}, -1
    for tick, delay in enumerate(delays):
        if chunks.requests(tick) and delay is not None:
            in_flight[tick] = tick + delay
        for requested in [a for a, comes in sorted(in_flight.items()) if comes <= tick]:
            del in_flight[requested]
            if requested > newest:  # as the client does
                newest = requested
                chunks.take(FakeChunk(requested, chunking.horizon))
        covered, played = chunks.covers(tick), chunks.at(tick)
        assert covered == (played is not None) == (newest >= 0 and tick - newest < chunking.reach)
        if played is not None:
            assert played.values.tolist() == [newest, tick]
            assert played.place == tick - newest


@given(chunkings(), st.lists(st.booleans(), min_size=30, max_size=30))
def test_requests_are_sent_every_execute_ticks_and_earlier_only_without_an_action(
    chunking: Chunking, answered: list[bool]
) -> None:
    chunks, last, starved = Chunks[FakeChunk](chunking), -math.inf, False
    for tick, comes in enumerate(answered):
        requests = chunks.requests(tick)
        overdue = starved and tick - last > chunking.ahead
        assert requests == (tick - last >= chunking.execute or overdue)
        if requests:
            last = tick
            if comes:
                chunks.take(FakeChunk(tick, chunking.horizon))
        starved = chunks.at(tick) is None


def test_a_late_chunk_begins_at_the_action_of_the_current_tick() -> None:
    chunks = Chunks[FakeChunk](Chunking(horizon=8, execute=4, ahead=2))
    assert chunks.requests(0)
    chunks.take(FakeChunk(0, 8))
    places = []
    for tick in range(4, 9):
        chunks.requests(tick)
        if tick == 6:
            chunks.take(FakeChunk(4, 8))
        played = chunks.at(tick)
        assert played is not None
        places.append((played.chunk.tick, played.place))
    assert places == [(0, 4), (0, 5), (4, 2), (4, 3), (4, 4)]


def test_skipped_ticks_are_skipped_in_the_chunk_too() -> None:
    chunks = Chunks[FakeChunk](Chunking(horizon=8, execute=8))
    chunks.requests(0)
    chunks.take(FakeChunk(0, 8))
    played = chunks.at(5)
    assert played is not None
    assert played.values.tolist() == [0, 5]
    assert chunks.requests(9)


def test_a_new_episode_plays_no_old_action_and_sends_a_request_at_once() -> None:
    chunks = Chunks[FakeChunk](Chunking(horizon=8, execute=8))
    chunks.requests(0)
    chunks.take(FakeChunk(0, 8))
    chunks.begin()
    assert chunks.at(1) is None
    assert chunks.requests(1)
    assert chunks.awaited(1) == 0


def test_an_answer_to_a_request_before_the_episode_is_not_played() -> None:
    chunks = Chunks[FakeChunk](Chunking(horizon=8, execute=8))
    chunks.requests(3)
    chunks.begin()
    chunks.requests(5)
    for tick in (3, 6):
        chunks.take(FakeChunk(tick, 8))
    assert chunks.at(6) is None
    chunks.take(FakeChunk(5, 8))
    assert chunks.covers(6)


# ---- blending


@given(st.lists(st.integers(0, 50), min_size=1, max_size=10, unique=True), st.floats(-2, 2))
def test_blending_weights_sum_to_one_and_fall_by_exp_of_m_a_tick(ages: list[int], blend: float) -> None:
    weights = blend_weights(np.array(ages), blend)
    assert weights.sum() == pytest.approx(1)
    for age, weight in zip(ages, weights, strict=True):
        assert weight == pytest.approx(weights[0] * math.exp(-blend * (age - ages[0])), rel=1e-9)


@pytest.mark.parametrize("blend", [1e6, -1e6])
def test_a_huge_blend_selects_the_newest_or_the_oldest_chunk(blend: float) -> None:
    expected = [0.0, 0.0, 1.0] if blend > 0 else [1.0, 0.0, 0.0]
    assert blend_weights(np.array([2, 1, 0]), blend).tolist() == expected


@given(st.integers(1, 6), st.floats(-1, 1))
def test_a_blend_is_the_weighted_mean_of_all_chunks_with_an_action_for_the_tick(
    execute: int, blend: float
) -> None:
    horizon = 6
    for tick, played in enumerate(lockstep(Chunking(horizon, execute, blend=blend), 25)):
        requested = [q for q in range(0, tick + 1, execute) if tick - q < horizon]
        weights = [math.exp(-blend * (tick - q)) for q in requested]
        mean = sum(w * q for w, q in zip(weights, requested, strict=True)) / sum(weights)
        np.testing.assert_allclose(played.values, [mean, tick], rtol=1e-5, atol=1e-5)
        assert played.chunk.tick == requested[-1]


def test_temporal_ensembling_of_act_is_a_negative_blend() -> None:
    k = 0.01
    oldest_first = np.exp(-k * np.arange(5))
    np.testing.assert_allclose(blend_weights(np.arange(5)[::-1], -k), oldest_first / oldest_first.sum())


def test_while_the_newest_chunk_is_late_the_earlier_ones_are_blended() -> None:
    chunks = Chunks[FakeChunk](Chunking(horizon=4, blend=0.0))
    for tick in range(3):
        chunks.requests(tick)
        chunks.take(FakeChunk(tick, 4))
    assert not chunks.covers(3)  # so the tick waits for its own chunk
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
def test_options_beyond_the_policys_horizon_are_refused_in_one_line(
    options: dict[str, float], named: str, expected: str
) -> None:
    with pytest.raises(UsageError) as raised:
        ChunkOptions(**options).chunking(8, paced=True)  # type: ignore[arg-type]
    assert (raised.value.where, raised.value.expected) == (named, expected)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("horizon", "execute", "paced", "ahead"), [(8, 4, True, 1), (8, 8, True, 0), (8, 1, True, 0), (8, 4, False, 0)]
)
def test_a_paced_robot_requests_one_tick_ahead_if_the_chunk_is_long_enough(
    horizon: int, execute: int, paced: bool, ahead: int
) -> None:
    assert ChunkOptions(execute=execute).chunking(horizon, paced).ahead == ahead
    assert ChunkOptions(execute=execute, ahead=0).chunking(horizon, paced).ahead == 0


def test_options_are_converted_back_to_a_command_line() -> None:
    assert ChunkOptions().given() == []
    options = ChunkOptions(execute=4, ahead=2, blend=-0.01)
    assert options.given() == ["--execute", "4", "--ahead", "2", "--blend", "-0.01"]
