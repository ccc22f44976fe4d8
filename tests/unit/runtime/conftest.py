"""Shared fixtures of the tests of server and client: a simulated clock, and sockets in one process."""

import logging
from collections.abc import Iterator

import pytest
import zmq

from odeploy_runtime.testing import FakeClock
from tests.unit.runtime.fakes import FakeSelect


@pytest.fixture
def context() -> Iterator["zmq.Context[zmq.Socket[bytes]]"]:
    with zmq.Context[zmq.Socket[bytes]]() as made:
        yield made
        made.destroy(linger=0)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def waiting(clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> FakeSelect:
    """Replace waiting for messages by advancing the clock."""
    fake = FakeSelect(clock)
    for module in ("sockets", "inbox"):
        monkeypatch.setattr(f"odeploy_runtime.transport.{module}.select", fake)
    return fake


class _Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


@pytest.fixture
def logged() -> Iterator[list[str]]:
    """Messages logged by the runtime from level info on; `caplog` has those from warning on."""
    log, lines = logging.getLogger("odeploy_runtime"), _Lines()
    level = log.level
    log.addHandler(lines)
    log.setLevel(logging.INFO)
    yield lines.messages
    log.setLevel(level)
    log.removeHandler(lines)
