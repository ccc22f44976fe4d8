"""Shared fixtures of the server's tests."""

from collections.abc import Iterator

import pytest
import zmq

from odeploy_runtime.testing import FakeClock
from tests.unit.runtime.fakes import FakeSelect
from tests.unit.runtime.server.world import World


@pytest.fixture
def world(context: "zmq.Context[zmq.Socket[bytes]]", clock: FakeClock, waiting: FakeSelect) -> Iterator[World]:
    made = World(context, clock)
    yield made
    made.close()
