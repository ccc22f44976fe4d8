"""The load of a server: what it admits, and whether deadlines are met."""

import pytest

from odeploy_runtime.server.load import Load

S = 1_000_000_000
US = 1000


def measured(load: Load, answer_ns: int, times: int = 3000) -> Load:
    for _ in range(times):
        load.add_tick(answer_ns, 0)
    return load


def test_the_load_of_streams_is_their_rate_times_the_measured_answer() -> None:
    load = measured(Load(0.5, 10 * US, 0), 200 * US)
    load.streams_hz = 1000.0
    assert load.value == pytest.approx(0.2, rel=0.06)
    assert load.refusal(2000.0) is None
    reason = load.refusal(3000.0)
    assert reason is not None
    assert reason.startswith("expected a load of at most 0.5 of a core, got 0.")


def test_before_an_answer_is_measured_the_load_follows_from_the_policys_calls() -> None:
    load = Load(0.5, 50 * US, 0)
    load.streams_hz = 1000.0
    assert load.value == pytest.approx(0.4)
    load.renew(150 * US)
    assert load.value == pytest.approx(1.0)


def test_rare_long_answers_are_what_a_stream_is_counted_with() -> None:
    load = Load(0.5, 10 * US, 0)
    for number in range(20_000):
        load.add_tick(1000 * US if number % 50 == 0 else 100 * US, 0)
    load.streams_hz = 1.0
    assert load.value * 1e9 > 500 * US


def test_requests_count_as_measured_in_the_last_second() -> None:
    load = Load(0.5, 10 * US, 0)
    for number in range(1, 9):
        for _ in range(25):
            load.add_request(1000 * US)
        load.look(number * S // 4)
    assert load.requests == pytest.approx(0.1)
    for number in range(9, 14):
        load.look(number * S // 4)
    assert load.requests == 0.0


def test_more_than_a_twentieth_of_missed_ticks_in_the_last_second_means_that_deadlines_are_not_met() -> None:
    load = Load(0.5, 10 * US, 0)
    for _ in range(95):
        load.add_tick(100 * US, 0)
    load.add_tick(100 * US, 4)
    load.look(S // 4)
    assert load.meets_deadlines
    load.add_tick(100 * US, 2)
    load.look(S // 2)
    assert not load.meets_deadlines
    for number in range(3, 8):
        load.add_tick(100 * US, 0)
        load.look(number * S // 4)
    assert load.meets_deadlines
