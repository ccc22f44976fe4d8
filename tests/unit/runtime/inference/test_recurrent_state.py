"""Recurrent state: one for each robot's episode, updated once by each answered tick."""

from collections.abc import Iterator, Sequence

import numpy as np
import pytest
import zmq

from odeploy_runtime.inference.recurrent_state import RecurrentState
from odeploy_runtime.policy_file.manifest import Noise
from odeploy_runtime.testing import FakeClock
from odeploy_runtime.transport import messages
from tests.unit.runtime.fakes import FakePolicy, FakeSelect, Floats, floats, manifest
from tests.unit.runtime.server.world import MS, T, World

RECURRENT = manifest(kind="recurrent", noise=Noise("none"), sampler=None, golden=(), state_size=1)


class Summing(FakePolicy):
    """Policy whose first action is the sum of all observations."""

    def infer(self, observation: Floats, noise: Floats) -> Floats:
        self.inferred += 1
        self.state += observation[0]
        return np.array([[self.state[0], 0.0]], np.float32)


@pytest.fixture
def world(context: "zmq.Context[zmq.Socket[bytes]]", clock: FakeClock, waiting: FakeSelect) -> Iterator[World]:
    made = World(context, clock, Summing(RECURRENT), pre_touch=True)
    yield made
    made.close()


def sums(answers: Sequence[messages.Message | None]) -> list[float]:
    assert all(isinstance(a, messages.Action) for a in answers)
    return [float(np.frombuffer(a.values, "<f4")[0]) for a in answers if isinstance(a, messages.Action)]


def state(value: float) -> Floats:
    return np.array([value], np.float32)


def test_a_state_changes_with_each_tick_and_begins_at_zero() -> None:
    recurrent = RecurrentState()
    for seq, expected in ((0, 0.0), (1, 10.0), (2, 11.0), (7, 12.0)):  # 3 to 6 were skipped
        assert recurrent.before(1, 0, seq) == expected
        recurrent.commit(1, 0, seq, state(10.0 + seq))


@pytest.mark.parametrize("number", [(1, 1, 5), (2, 0, 5), (1, 0, 0)], ids=["episode", "policy", "tick 0"])
def test_another_episode_another_policy_and_tick_0_begin_from_zero(number: tuple[int, int, int]) -> None:
    recurrent = RecurrentState()
    recurrent.commit(1, 0, 4, state(3.0))
    assert recurrent.before(1, 0, 5) == 3.0
    assert recurrent.before(*number) == 0.0
    recurrent.commit(*number, state(5.0))
    epoch, episode, seq = number
    assert recurrent.before(epoch, episode, seq + 1) == 5.0


def test_a_repeated_tick_gets_the_same_state() -> None:
    recurrent = RecurrentState()
    recurrent.commit(1, 0, 0, state(1.0))
    recurrent.commit(1, 0, 1, state(2.0))
    for _ in range(3):
        assert recurrent.before(1, 0, 1) == 1.0
        recurrent.commit(1, 0, 1, state(2.0))
    assert recurrent.before(1, 0, 2) == 2.0


def test_an_older_tick_does_not_change_the_state() -> None:
    recurrent = RecurrentState()
    recurrent.commit(1, 0, 5, state(1.0))
    assert recurrent.before(1, 0, 3) == 1.0
    recurrent.commit(1, 0, 3, state(9.0))
    assert recurrent.before(1, 0, 6) == 1.0


def test_the_kept_state_is_a_copy() -> None:
    recurrent, current = RecurrentState(), state(1.0)
    recurrent.commit(1, 0, 0, current)
    current[:] = 9.0
    assert recurrent.before(1, 0, 1) == 1.0


def test_two_robots_do_not_mix_their_states(world: World) -> None:
    one, other = world.peer(), world.peer()
    first, second = world.welcome(one), world.welcome(other, robot="other")
    answers = []
    for seq in range(3):
        answers.append(world.observe(one, first, seq, values=floats(1.0, 0.0, 0.0)))
        answers.append(world.observe(other, second, seq, values=floats(100.0, 0.0, 0.0)))
    assert sums(answers) == [1.0, 100.0, 2.0, 200.0, 3.0, 300.0]


def test_an_episode_and_a_session_begin_from_zero(world: World) -> None:
    peer = world.peer()
    ready = world.welcome(peer)
    answers = [world.observe(peer, ready, seq, episode) for episode in (0, 1) for seq in (0, 1)]
    again = world.welcome(peer)
    answers.append(world.observe(peer, again, seq=2, episode=1))
    assert sums(answers) == [1.0, 2.0, 1.0, 2.0, 1.0]


def test_pre_touch_runs_do_not_change_the_state(world: World) -> None:
    peer = world.peer()
    ready, answers = world.welcome(peer), []
    for seq in range(4):
        answers.append(world.observe(peer, ready, seq))
        world.let_pass(T - MS // 10)
    assert world.counters["rehearsals"] >= 3
    assert world.policy.inferred > 4
    assert sums(answers) == [1.0, 2.0, 3.0, 4.0]


def test_a_refused_observation_does_not_change_the_state(world: World) -> None:
    peer = world.peer()
    ready = world.welcome(peer)
    answers = [world.observe(peer, ready, 0)]
    assert isinstance(world.observe(peer, ready, 1, values=floats(float("nan"), 0.0, 0.0)), messages.Error)
    answers.append(world.observe(peer, ready, 2))
    assert sums(answers) == [1.0, 2.0]


def test_a_non_finite_action_does_not_change_the_state(world: World) -> None:
    peer = world.peer()
    ready = world.welcome(peer)
    answers = [world.observe(peer, ready, 0, values=floats(3e38, 0.0, 0.0))]
    with np.errstate(over="ignore"):
        assert isinstance(world.observe(peer, ready, 1, values=floats(3e38, 0.0, 0.0)), messages.Error)
    answers.append(world.observe(peer, ready, 2, values=floats(-3e38, 0.0, 0.0)))
    assert sums(answers)[1] == 0.0


def test_repeated_answers_of_a_stream_change_the_state_once(world: World) -> None:
    peer = world.peer()
    ready = world.welcome(peer, mode="stream")
    received = []
    for seq in range(2):
        assert world.observe(peer, ready, seq) is None
        world.let_pass(3 * T)
        while (answer := peer.receive()) is not None:
            received.append(answer)
    values = sums(received)
    assert len(values) >= 5
    assert sorted(set(values)) == [1.0, 2.0]
