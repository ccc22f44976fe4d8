"""The log's rate limit: no robot can flood it, and the operator's lines always pass."""

import logging

import pytest

from odeploy_runtime.server.log import RateLimit
from odeploy_runtime.testing import FakeClock

S = 1_000_000_000


class Log:
    """Handler with the filter, and the lines that passed it."""

    def __init__(self, clock: FakeClock) -> None:
        self.lines: list[str] = []
        self._handler = logging.Handler()
        self._handler.emit = lambda record: self.lines.append(record.getMessage())  # type: ignore[method-assign]
        self._handler.addFilter(RateLimit(clock))

    def __call__(self, message: str, *arguments: object, name: str = "odeploy_runtime.server.sessions") -> None:
        self._handler.handle(logging.LogRecord(name, logging.INFO, __file__, 1, message, arguments, None))


@pytest.fixture
def log(clock: FakeClock) -> Log:
    return Log(clock)


def test_lines_pass_unchanged(log: Log) -> None:
    log("%r connected: γ", "arm")
    log("'arm' freed")
    assert log.lines == ["'arm' connected: γ", "'arm' freed"]


@pytest.mark.parametrize("name", ["odeploy_runtime.server.sessions", "odeploy_runtime.transport.curve_auth"])
def test_excess_lines_are_left_out_and_counted_in_the_next_line(log: Log, clock: FakeClock, name: str) -> None:
    for number in range(1000):
        log(str(number), name=name)
    assert log.lines == [str(number) for number in range(40)]
    clock.ns += S
    log("later", name=name)
    assert log.lines[40:] == ["later (960 lines left out before this one)"]


def test_the_same_line_again_is_counted_and_logged_again_after_five_seconds(log: Log, clock: FakeClock) -> None:
    for _ in range(11):
        log("turned %s", "away")
        clock.ns += S // 2
    assert log.lines == ["turned away", "turned away (9 lines left out before this one)"]


def test_a_long_line_is_truncated(log: Log) -> None:
    log("x" * 60_000)
    assert log.lines == ["x" * 500 + "…"]


def test_the_lines_of_an_operators_requests_are_not_limited(log: Log) -> None:
    for _ in range(100):
        log("serving epoch 2", name="odeploy_runtime.hot_swap.swapper")
    assert len(log.lines) == 100
