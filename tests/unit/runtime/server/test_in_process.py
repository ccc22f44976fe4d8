"""A policy in the robot's process gives the server's answers without waiting."""

from pathlib import Path

import numpy as np
import pytest

from odeploy_runtime.errors import AddressError, FormatError, RefusedError
from odeploy_runtime.inference.noise import NoiseSource
from odeploy_runtime.policy_file.file import read
from odeploy_runtime.realtime.clock import MonotonicClock
from odeploy_runtime.robot.client import Drops, RobotClient
from odeploy_runtime.robot.connect import connect
from odeploy_runtime.server.in_process import InProcessLink
from odeploy_runtime.testing import FakeClock
from odeploy_runtime.transport import messages
from odeploy_runtime.transport.link import DealerLink
from tests.unit.runtime.fakes import FakePolicy, floats, hello
from tests.unit.runtime.scaled_policy import scaled_bytes

MS = 1_000_000
VALUES = floats(1.0, 2.0, 3.0)


@pytest.fixture
def policy() -> FakePolicy:
    return FakePolicy()


def test_each_observation_is_answered_at_once_with_the_noise_of_its_tick(
    policy: FakePolicy, clock: FakeClock
) -> None:
    client = RobotClient(InProcessLink(policy, clock), hello(seed=7), clock, 1.0)
    noise = NoiseSource(policy.manifest.noise, 7)
    for seq in range(3):
        start_ns = clock.ns
        client.send(0, seq, VALUES)
        arrival = client.receive(0, seq, clock.ns + MS)
        assert arrival is not None
        expected = policy.infer(np.array([1.0, 2.0, 3.0], np.float32), noise.draw(0, seq))
        np.testing.assert_array_equal(arrival.values, expected)
        assert clock.ns == start_ns
    assert client.drops == Drops()
    client.close()


def test_the_wait_without_an_answer_ends_at_the_deadline(policy: FakePolicy, clock: FakeClock) -> None:
    client = RobotClient(InProcessLink(policy, clock), hello(), clock, 1.0)
    deadline_ns = clock.ns + 3 * MS
    assert client.receive(0, 0, deadline_ns) is None
    assert clock.ns == deadline_ns
    assert client.newest(0) is None
    assert clock.ns == deadline_ns


def test_a_robot_with_other_signals_is_refused_as_by_a_server(policy: FakePolicy, clock: FakeClock) -> None:
    with pytest.raises(RefusedError, match="speed"):
        RobotClient(InProcessLink(policy, clock), hello(observation=["x", "y", "z"]), clock, 1.0)


def test_a_non_finite_observation_gets_no_action_and_its_signal_is_named(
    policy: FakePolicy, clock: FakeClock
) -> None:
    client = RobotClient(InProcessLink(policy, clock), hello(), clock, 1.0)
    client.send(0, 0, floats(1.0, float("nan"), 0.0))
    assert client.receive(0, 0, clock.ns + MS) is None
    assert client.last_error == messages.Error(0, messages.NOT_FINITE, "y")


def test_a_pre_touch_run_calls_the_policy_and_changes_no_answer(policy: FakePolicy, clock: FakeClock) -> None:
    client = RobotClient(InProcessLink(policy, clock), hello(), clock, 1.0)
    client.touch(VALUES)  # no run before the first observation
    assert policy.inferred == 0
    client.send(0, 0, VALUES)
    first = client.receive(0, 0, clock.ns + MS)
    client.touch(VALUES)
    assert policy.inferred == 2
    assert client.newest(0) is None
    client.send(0, 1, VALUES)
    second = client.receive(0, 1, clock.ns + MS)
    assert first is not None
    assert second is not None
    assert (first.tick, second.tick) == (0, 1)


def test_connect_accepts_a_file_or_an_endpoint_and_refuses_others(tmp_path: Path) -> None:
    clock, file = MonotonicClock(), tmp_path / "half.onnx"
    file.write_bytes(scaled_bytes(0.5))
    inside = connect(read(file), clock)
    assert isinstance(inside, InProcessLink)
    assert inside.endpoint == "scale-0.5 in this process"
    outside = connect(f"ipc://{tmp_path}/s.ipc", clock, transport="zmq")
    assert isinstance(outside, DealerLink)
    outside.close()
    with pytest.raises(AddressError):
        connect("http://127.0.0.1", clock)
    file.write_bytes(b"nothing")
    with pytest.raises(FormatError):
        read(file)
