"""What the tests of the two ends of the wire share: a clock that jumps and sockets within one process."""

from collections.abc import Iterator

import pytest
import zmq

from tests.unit.runtime.fakes import FakeClock, FakeSelect


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
    """Lets `receive` jump instead of wait."""
    fake = FakeSelect(clock)
    monkeypatch.setattr("odeploy_runtime.transport.sockets.select", fake)
    return fake
