"""A served policy, played without a loop."""

import numpy as np
import pytest

from odeploy_runtime.errors import UnreachableError
from odeploy_runtime.inference.policy import Policy
from odeploy_runtime.robot import remote_player
from odeploy_runtime.robot.remote_player import connect
from odeploy_runtime.server.in_process import InProcessLink
from odeploy_runtime.signals import Signal
from odeploy_runtime.testing import FakeClock, FakeLink
from tests.unit.runtime.fakes import FakePolicy

NAMES: list[str | Signal] = [Signal("x", "m"), "y", "speed"]
MOTORS = ["motor_x", "motor_y"]
VALUES = [1.0, 2.0, 3.0]


@pytest.fixture
def policy(monkeypatch: pytest.MonkeyPatch, clock: FakeClock) -> Policy:
    made = FakePolicy()
    monkeypatch.setattr(remote_player, "link_to", lambda *_, **_options: InProcessLink(made, clock))
    return made


def test_a_served_policy_acts_as_the_same_file_in_this_process(policy: Policy) -> None:
    from odeploy_runtime.robot.policy_player import PolicyPlayer

    own = PolicyPlayer(FakePolicy(), seed=5)
    with connect("ipc:///s", observation=NAMES, action=MOTORS, rate_hz=100, seed=5) as served:
        assert served.ready.fingerprint == policy.fingerprint
        for _ in range(2):
            for _ in range(3):
                np.testing.assert_array_equal(served.act(VALUES), own.act(VALUES))
            np.testing.assert_array_equal(served.infer(VALUES), own.infer(VALUES))
            served.reset()
            own.reset()


def test_a_server_that_does_not_answer_is_an_error(monkeypatch: pytest.MonkeyPatch, clock: FakeClock) -> None:
    link = FakeLink(clock, lambda _: np.zeros((1, 2), np.float32), takes_ns=10**12)
    monkeypatch.setattr(remote_player, "link_to", lambda *_, **_options: link)
    monkeypatch.setattr(remote_player, "MonotonicClock", lambda: clock)
    with (
        connect("ipc:///s", observation=NAMES, action=MOTORS, rate_hz=100, wait_s=0.5) as served,
        pytest.raises(UnreachableError, match=r"an action, got none within 0\.5 s"),
    ):
        served.act(VALUES)
