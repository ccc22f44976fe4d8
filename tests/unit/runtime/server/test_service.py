"""A server's reply to each frame, on a simulated clock."""

import threading
from contextlib import closing

import msgpack
import numpy as np
import pytest
import zmq

from odeploy_runtime.hot_swap.divergence import Divergence
from odeploy_runtime.inference.noise import NoiseSource
from odeploy_runtime.policy_file.manifest import Noise
from odeploy_runtime.testing import FakeClock
from odeploy_runtime.transport import messages
from tests.unit.runtime.fakes import FakePolicy, FakeSelect, floats, manifest
from tests.unit.runtime.server.world import MS, VALUES, T, World, stamps, streaming

# ---- observations


def test_an_observation_is_answered_with_its_number_and_ordered_stamps(world: World) -> None:
    peer = world.peer()
    ready = world.welcome(peer)
    answer = world.observe(peer, ready, seq=41, episode=3)
    assert isinstance(answer, messages.Action)
    assert (answer.session, answer.episode, answer.seq) == (ready.session, 3, 41)
    assert (answer.policy_epoch, answer.status) == (1, messages.OK)
    assert answer.received_ns <= answer.started_ns <= answer.inferred_ns <= answer.replied_ns


def test_the_action_is_the_policys_for_that_observation_and_noise(world: World) -> None:
    peer = world.peer()
    answer = world.observe(peer, world.welcome(peer, seed=7), seq=5, episode=2)
    assert isinstance(answer, messages.Action)
    noise = NoiseSource(world.policy.manifest.noise, 7).draw(2, 5).reshape(-1)
    assert answer.values == floats(1.0 + noise[0], 2.0 + noise[1])


def test_a_ticks_noise_is_the_same_in_every_request_and_for_every_robot(world: World) -> None:
    peer, other = world.peer(), world.peer()
    ready = world.welcome(peer)
    first = [world.observe(peer, ready, seq) for seq in (0, 1, 2)]
    again = [world.observe(peer, ready, seq) for seq in (2, 0, 1)]
    theirs = world.welcome(other, robot="other")
    elsewhere = [world.observe(other, theirs, seq) for seq in (0, 1, 2)]

    def values(answers: list[messages.Message | None]) -> list[bytes]:
        assert all(isinstance(a, messages.Action) for a in answers)
        return [a.values for a in answers if isinstance(a, messages.Action)]

    assert len(set(values(first))) == 3
    assert values(again) == [values(first)[i] for i in (2, 0, 1)]
    assert values(elsewhere) == values(first)


@pytest.mark.parametrize("changes", [{"seed": 8}, {"episode": 1}, {"seq": 1}])
def test_seed_episode_and_number_each_change_the_noise(world: World, changes: dict[str, int]) -> None:
    drawn: set[bytes] = set()
    first = {"seed": 7, "episode": 0, "seq": 0}
    for seed, episode, seq in (first.values(), (first | changes).values()):
        peer = world.peer()
        answer = world.observe(peer, world.welcome(peer, seed=seed, robot=str(len(drawn))), seq, episode)
        assert isinstance(answer, messages.Action)
        drawn.add(answer.values)
    assert len(drawn) == 2


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize(("place", "name"), [(0, "x"), (1, "y"), (2, "speed")])
def test_a_non_finite_observation_is_an_error_that_names_the_signal(
    world: World, bad: float, place: int, name: str
) -> None:
    peer = world.peer()
    ready = world.welcome(peer)
    values = [1.0, 2.0, 3.0]
    values[place] = bad
    assert world.observe(peer, ready, 9, values=floats(*values)) == messages.Error(9, messages.NOT_FINITE, name)
    assert world.policy.inferred == 0
    assert isinstance(world.observe(peer, ready, 10), messages.Action)


def test_huge_but_finite_observations_are_served(world: World) -> None:
    peer = world.peer()
    answer = world.observe(peer, world.welcome(peer), values=floats(3e38, -3e38, 3e38))
    assert isinstance(answer, messages.Action)


@pytest.mark.parametrize("values", [b"", bytes(11), bytes(8), bytes(16), bytes(60_000)])
def test_an_observation_of_another_length_is_an_error_with_the_right_length(world: World, values: bytes) -> None:
    peer = world.peer()
    ready = world.welcome(peer)
    assert world.observe(peer, ready, 4, values=values) == messages.Error(4, messages.WRONG_LENGTH, "12 bytes")
    assert isinstance(world.observe(peer, ready, 5), messages.Action)


def test_an_observation_without_a_session_or_with_a_foreign_one_is_an_error(world: World) -> None:
    connected, other = world.peer(), world.peer()
    ready = world.welcome(connected)
    assert world.observe(other, ready, 3) == messages.Error(3, messages.UNKNOWN_SESSION, "")
    assert world.observe(connected, ready._replace(session=ready.session + 1), 3) == messages.Error(
        3, messages.UNKNOWN_SESSION, ""
    )
    assert isinstance(world.observe(connected, ready, 3), messages.Action)


@pytest.mark.parametrize(("place", "name"), [(0, "motor_x"), (1, "motor_y")])
def test_a_non_finite_action_is_never_sent(world: World, place: int, name: str) -> None:
    peer = world.peer()
    ready = world.welcome(peer)
    answer = np.zeros((1, 2), np.float32)
    answer[0, place] = np.nan
    world.policy.answer = answer
    assert world.observe(peer, ready, 6) == messages.Error(6, messages.INFERENCE_FAILED, name)


# ---- invalid frames


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"hello",
        b"\xc1",
        b"\x90",
        b"\x91" * 2000,
        bytes(1000),
        msgpack.packb([4, 1, 2, 3]),
        b"\xdd\xff\xff\xff\xff",
    ],
)
def test_an_invalid_frame_is_answered_as_malformed_and_the_connection_is_kept(world: World, frame: bytes) -> None:
    peer = world.peer()
    ready = world.welcome(peer)
    answer = world.request(peer, frame)
    assert isinstance(answer, messages.Error)
    assert (answer.seq, answer.code) == (0, messages.MALFORMED)
    assert "Traceback" not in answer.signal
    assert isinstance(world.observe(peer, ready), messages.Action)


def test_more_than_one_frame_is_malformed_and_the_connection_is_kept(world: World) -> None:
    peer = world.peer()
    ready = world.welcome(peer)
    peer.socket.send_multipart([messages.pack(messages.Bye(ready.session)), b"more"])
    world.server.turn()
    assert peer.receive() == messages.Error(0, messages.MALFORMED, "more than one frame")
    assert isinstance(world.observe(peer, ready), messages.Action)


@pytest.mark.parametrize(
    "message",
    [
        messages.Ready(1, 2, "p", "f", 1.0, 1),
        messages.Refused("no"),
        messages.Error(1, 2, ""),
        messages.Action(1, 2, 3, 4, 5, 6, 7, 8, 9, b""),
    ],
)
def test_a_servers_message_sent_to_a_server_is_malformed(world: World, message: messages.Message) -> None:
    answer = world.request(world.peer(), message)
    assert answer == messages.Error(0, messages.MALFORMED, f"{type(message).__name__} is a server's message")


def test_a_robot_that_disconnects_without_reading_does_not_stop_the_server(world: World) -> None:
    gone, stays = world.peer(), world.peer()
    ready, theirs = world.welcome(gone), world.welcome(stays, robot="other")
    gone.send(messages.Observation(ready.session, 0, 0, 0, VALUES))
    gone.socket.close()
    world.server.turn()
    assert isinstance(world.observe(stays, theirs), messages.Action)


# ---- streams


def test_a_stream_is_answered_on_the_servers_grid_half_a_period_after_the_robots(world: World) -> None:
    peer, _, at_ns = streaming(world)
    for _ in range(3):
        world.server.turn()
    assert stamps(peer) == [(0, at_ns + T // 2 + k * T) for k in range(3)]


def test_a_stream_is_answered_from_the_observation_received_last_alone(world: World) -> None:
    peer, ready, at_ns = streaming(world)
    for seq in (1, 3, 2):
        assert world.observe(peer, ready, seq) is None
    world.server.turn()
    assert stamps(peer) == [(2, at_ns + T // 2)]
    assert world.policy.inferred == 1


def test_a_streamed_action_contains_the_age_of_its_observation(world: World) -> None:
    peer, _, at_ns = streaming(world)
    world.server.turn()
    world.server.turn()
    peer.receive()
    answer = peer.receive()
    assert isinstance(answer, messages.Action)
    assert (answer.received_ns, answer.started_ns - answer.received_ns) == (at_ns, T // 2 + T)


def test_an_overrun_stream_skips_to_its_grid_without_a_burst(world: World) -> None:
    peer, _, at_ns = streaming(world)
    world.server.turn()
    world.clock.ns = at_ns + T // 2 + 7 * T + 3 * MS
    world.server.turn()
    world.server.turn()
    assert stamps(peer)[1:] == [(0, at_ns + T // 2 + 7 * T + 3 * MS), (0, at_ns + T // 2 + 8 * T)]


def test_a_bad_observation_in_a_stream_is_an_error_at_every_tick_until_the_next_one(world: World) -> None:
    peer, ready, _ = streaming(world)
    world.observe(peer, ready, 1, values=floats(1, float("nan"), 0))
    for _ in range(3):
        world.server.turn()
        assert peer.receive() == messages.Error(1, messages.NOT_FINITE, "y")
    world.observe(peer, ready, 2)
    world.server.turn()
    assert isinstance(peer.receive(), messages.Action)


# ---- another policy


def exchange(world: World, policy: FakePolicy) -> None:
    """Offer a policy as the control socket's thread does, and let the loop take it."""
    offering = threading.Thread(target=world.slot.offer, args=(policy,))
    offering.start()
    while world.slot._offered is None:
        pass
    world.server.turn()
    offering.join()


def test_a_new_policy_answers_from_the_next_tick_with_its_own_epoch(world: World) -> None:
    peer, other = world.peer(), FakePolicy(fingerprint="b" * 64)
    other.answer = np.array([[7, 8]], np.float32)
    ready = world.welcome(peer)
    before = world.observe(peer, ready, 0)
    exchange(world, other)
    after = world.observe(peer, ready, 1)
    assert isinstance(before, messages.Action)
    assert isinstance(after, messages.Action)
    assert (before.policy_epoch, after.policy_epoch, after.values) == (1, 2, floats(7, 8))
    health = world.request(world.peer(), messages.Ping(messages.PROTOCOL))
    assert isinstance(health, messages.Health)
    assert (health.policy_epoch, health.fingerprint) == (2, "b" * 64)
    assert health.fingerprints == ["f" * 64, "b" * 64]
    assert world.counters["policy_epoch"] == 2


def test_a_new_policy_with_another_noise_shape_gets_the_ticks_draw(world: World) -> None:
    peer, noise_contract = world.peer(), Noise("normal", (1, 1, 5))
    ready = world.welcome(peer, seed=7)
    world.observe(peer, ready, 0)
    exchange(world, FakePolicy(manifest(noise=noise_contract, golden=())))
    answer = world.observe(peer, ready, 1)
    noise = NoiseSource(noise_contract, 7).draw(0, 1).reshape(-1)
    assert isinstance(answer, messages.Action)
    assert answer.values == floats(1.0 + noise[0], 2.0 + noise[1])


def test_a_robot_that_connects_after_a_swap_gets_the_new_policys_fingerprint(world: World) -> None:
    exchange(world, FakePolicy(fingerprint="b" * 64))
    assert world.welcome(world.peer()).fingerprint == "b" * 64


class FakeShadow:
    """Shadow that accepts every second tick."""

    manifest, fingerprint = manifest(), "c" * 64

    def __init__(self) -> None:
        self.fed: list[tuple[int, messages.Observation, messages.Action]] = []

    def feed(self, seed: int, message: messages.Observation, action: messages.Action) -> bool:
        self.fed.append((seed, message, action))
        return len(self.fed) % 2 == 1

    def divergence(self) -> Divergence:
        return Divergence(9, np.array([0.5, 0.25], np.float32), np.array([1, 2], np.float32))


def test_a_shadow_gets_only_answered_ticks_and_its_dropped_ones_are_counted(world: World) -> None:
    peer, shadow = world.peer(), FakeShadow()
    ready = world.welcome(peer, seed=7)
    world.slot.attach(shadow)  # type: ignore[arg-type]
    answers = [world.observe(peer, ready, seq) for seq in range(3)]
    world.observe(peer, ready, 3, values=floats(float("nan"), 0, 0))
    assert [(seed, message.seq) for seed, message, _ in shadow.fed] == [(7, 0), (7, 1), (7, 2)]
    assert [action for *_, action in shadow.fed] == answers
    assert (world.counters["shadow:fed"], world.counters["shadow:dropped"]) == (2, 1)
    health = world.request(world.peer(), messages.Ping(messages.PROTOCOL))
    assert isinstance(health, messages.Health)
    assert (health.shadow, health.shadow_compared, health.shadow_dropped) == ("c" * 64, 9, 1)
    assert (health.shadow_mean, health.shadow_max) == (floats(0.5, 0.25), floats(1, 2))


# ---- out of range


RANGES = (-2.0, 2.0), (0.0, 1.0), (-1.0, 1.0)


@pytest.fixture
def ranged() -> FakePolicy:
    return FakePolicy(manifest(observed=RANGES))


def test_an_observation_out_of_range_is_answered_flagged_counted_and_named(
    context: "zmq.Context[zmq.Socket[bytes]]",
    clock: FakeClock,
    waiting: FakeSelect,
    ranged: FakePolicy,
    logged: list[str],
) -> None:
    with closing(World(context, clock, ranged)) as world:
        ready = world.welcome(peer := world.peer())
        answers = [world.observe(peer, ready, seq, values=floats(x, 0, 0)) for seq, x in enumerate((0.5, 90.0))]
        assert [a.status for a in answers if isinstance(a, messages.Action)] == [messages.OK, messages.FAR]
        assert world.counters["far_observations"] == 1
        assert logged[-1] == "'robot': x is far outside what the policy was trained on"


def test_with_the_option_an_observation_out_of_range_is_refused_without_inference(
    context: "zmq.Context[zmq.Socket[bytes]]", clock: FakeClock, waiting: FakeSelect, ranged: FakePolicy
) -> None:
    with closing(World(context, clock, ranged, refuse_out_of_range=True)) as world:
        ready = world.welcome(peer := world.peer())
        assert world.observe(peer, ready, 0, values=floats(0, 90, 0)) == messages.Error(
            0, messages.FAR_OUTSIDE, "y"
        )
        assert world.policy.inferred == 0
        assert world.counters["errors:far_outside"] == 1
        assert isinstance(world.observe(peer, ready, 1, values=floats(0, 0, 0)), messages.Action)
