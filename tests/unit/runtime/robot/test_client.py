"""The robot's client: against a scripted server, and against the real one."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import msgpack
import numpy as np
import pytest
import zmq

from odeploy_runtime.errors import AddressError, RefusedError, UnreachableError
from odeploy_runtime.hot_swap.slot import PolicySlot
from odeploy_runtime.robot.client import Drops, RobotClient
from odeploy_runtime.testing import FakeClock
from odeploy_runtime.transport import messages
from odeploy_runtime.transport.link import DealerLink
from odeploy_runtime.transport.sockets import bind_router
from tests.unit.runtime.fakes import FakePolicy, FakeSelect, floats, hello, served

ENDPOINT = "inproc://server"
MS, S = 1_000_000, 1_000_000_000
VALUES = floats(1.0, 2.0, 3.0)
READY = messages.Ready(messages.PROTOCOL, 11, "teacher", "f" * 64, 100.0, 1)
Answer = Callable[[messages.Message], list[messages.Message | bytes]]


def action(seq: int, episode: int = 0, session: int = 11, values: bytes = floats(0.5, -0.5)) -> messages.Action:
    return messages.Action(session, episode, seq, 1, messages.OK, 1, 2, 3, 4, values)


class Scripted:
    """Server's socket that records messages and answers by `answer`."""

    def __init__(self, context: "zmq.Context[zmq.Socket[bytes]]") -> None:
        self.socket = bind_router(context, ENDPOINT)
        self.received: list[messages.Message] = []
        self.identity = b""
        self.answer: Answer = lambda message: [READY] if isinstance(message, messages.Hello) else []

    def pump(self) -> bool:
        """Answer one message; return whether there was one."""
        try:
            self.identity, frame = self.socket.recv_multipart(zmq.NOBLOCK)
        except zmq.Again:
            return False
        self.received.append(messages.unpack(frame))
        self.send(*self.answer(self.received[-1]))
        return True

    def pump_all(self) -> None:
        while self.pump():
            pass

    def send(self, *sent: messages.Message | bytes) -> None:
        for message in sent:
            frame = message if isinstance(message, bytes) else messages.pack(message)
            self.socket.send_multipart((self.identity, frame))


@pytest.fixture
def server(context: "zmq.Context[zmq.Socket[bytes]]", waiting: FakeSelect) -> Iterator[Scripted]:
    made = Scripted(context)
    waiting.peers.append(made.pump)
    yield made
    made.socket.close()


@pytest.fixture
def client(context: "zmq.Context[zmq.Socket[bytes]]", server: Scripted, clock: FakeClock) -> Iterator[RobotClient]:
    made = RobotClient(DealerLink(context, ENDPOINT, clock), hello(), clock, 1.0)
    yield made
    made.close()


# ---- the handshake


def test_a_client_sends_hello_and_gets_a_session(client: RobotClient, server: Scripted) -> None:
    assert server.received == [hello()]
    assert client.ready == READY
    assert client.drops == Drops()


def test_an_absent_server_is_unreachable_after_the_timeout(
    context: "zmq.Context[zmq.Socket[bytes]]", clock: FakeClock, tmp_path: Any
) -> None:
    start_ns = clock.ns
    with pytest.raises(UnreachableError, match="expected an answer within 2 s, got none") as raised:
        RobotClient(DealerLink(context, f"ipc://{tmp_path}/absent", clock), hello(), clock, 2.0)
    assert raised.value.remedy == f"start it: odeploy serve FILE --endpoint ipc://{tmp_path}/absent"
    assert 2000 * MS <= clock.ns - start_ns <= 2020 * MS


def test_a_silent_server_is_unreachable_after_the_timeout(
    context: "zmq.Context[zmq.Socket[bytes]]", server: Scripted, clock: FakeClock
) -> None:
    server.answer = lambda _: []
    start_ns = clock.ns
    with pytest.raises(UnreachableError):
        RobotClient(DealerLink(context, ENDPOINT, clock), hello(), clock, 0.5)
    assert clock.ns - start_ns == 500 * MS


def test_a_refusal_is_passed_on_with_its_reason(
    context: "zmq.Context[zmq.Socket[bytes]]", server: Scripted, clock: FakeClock
) -> None:
    server.answer = lambda _: [messages.Refused("missing speed")]
    with pytest.raises(RefusedError, match="got a refusal: missing speed"):
        RobotClient(DealerLink(context, ENDPOINT, clock), hello(), clock, 1.0)


@pytest.mark.parametrize(
    "first", [b"\xc1", action(0), action(0, values=b""), messages.Error(0, 4, ""), messages.Bye(3)]
)
def test_messages_before_the_answer_to_the_handshake_are_skipped(
    context: "zmq.Context[zmq.Socket[bytes]]", server: Scripted, clock: FakeClock, first: messages.Message | bytes
) -> None:
    server.answer = lambda message: [first, READY] if isinstance(message, messages.Hello) else []
    with contextlib.closing(RobotClient(DealerLink(context, ENDPOINT, clock), hello(), clock, 1.0)) as made:
        assert made.ready == READY


@pytest.mark.parametrize("endpoint", ["nowhere", "tcp://127.0.0.1:notaport", "ipc://" + "x" * 200])
def test_an_invalid_endpoint_is_refused(
    context: "zmq.Context[zmq.Socket[bytes]]", clock: FakeClock, endpoint: str
) -> None:
    with pytest.raises(AddressError, match="endpoint"):
        RobotClient(DealerLink(context, endpoint, clock), hello(), clock, 1.0)


# ---- one tick


def test_an_observation_is_sent_with_session_tick_and_time(
    client: RobotClient, server: Scripted, clock: FakeClock
) -> None:
    clock.ns += 5
    assert client.send(3, 41, VALUES) == clock.ns
    server.pump_all()
    assert server.received[-1] == messages.Observation(11, 3, 41, clock.ns, VALUES)


def test_the_answer_arrives_with_its_values_and_both_times(
    client: RobotClient, server: Scripted, clock: FakeClock
) -> None:
    server.answer = lambda _: [action(5, 2)]
    sent_ns = client.send(2, 5, VALUES)
    arrival = client.receive(2, 5, sent_ns + 10 * MS)
    assert arrival is not None
    assert arrival.message == action(5, 2)
    np.testing.assert_array_equal(arrival.values, [[0.5, -0.5]])
    assert (arrival.observed_ns, arrival.arrived_ns) == (sent_ns, clock.ns)


@pytest.mark.parametrize(
    ("shift_ns", "late", "one_clock"), [(0, 0, True), (3600 * S, 0, False), (-600 * S, 0, False), (S, 20, True)]
)
def test_another_clock_at_the_server_shows_in_the_first_twenty_answers(
    client: RobotClient, server: Scripted, clock: FakeClock, shift_ns: int, late: int, one_clock: bool
) -> None:
    """The server's clock is wrong by `shift_ns` after its first `late` answers."""

    def answer(message: messages.Message) -> list[messages.Message | bytes]:
        if not isinstance(message, messages.Observation):
            return []
        at = clock.ns + (shift_ns if message.seq >= late else 0)
        stamped = action(message.seq)._replace(received_ns=at, started_ns=at, inferred_ns=at, replied_ns=at)
        return [stamped]

    server.answer = answer
    for seq in range(30):
        sent_ns = client.send(0, seq, VALUES)
        assert client.receive(0, seq, sent_ns + MS) is not None
    assert client.one_clock == one_clock


def test_an_action_chunk_arrives_in_its_shape(
    context: "zmq.Context[zmq.Socket[bytes]]", server: Scripted, clock: FakeClock
) -> None:
    server.answer = lambda message: (
        [READY._replace(horizon=2)]
        if isinstance(message, messages.Hello)
        else [action(0, values=floats(1, 2, 3, 4))]
    )
    with contextlib.closing(RobotClient(DealerLink(context, ENDPOINT, clock), hello(), clock, 1.0)) as made:
        made.send(0, 0, VALUES)
        arrival = made.receive(0, 0, clock.ns + MS)
        assert arrival is not None
        np.testing.assert_array_equal(arrival.values, [[1, 2], [3, 4]])


def test_the_wait_for_a_silent_server_ends_at_the_deadline(client: RobotClient, clock: FakeClock) -> None:
    deadline_ns = client.send(0, 0, VALUES) + 7 * MS
    assert client.receive(0, 0, deadline_ns) is None
    assert clock.ns == deadline_ns


def test_a_late_reply_is_counted_and_dropped(client: RobotClient, server: Scripted, clock: FakeClock) -> None:
    client.send(0, 0, VALUES)
    assert client.receive(0, 0, clock.ns + MS) is None
    server.send(action(0))
    server.answer = lambda _: [action(1)]
    client.send(0, 1, VALUES)
    arrival = client.receive(0, 1, clock.ns + MS)
    assert arrival is not None
    assert arrival.message.seq == 1
    assert client.drops == Drops(late=1)


def test_a_reply_to_a_later_request_is_accepted_and_one_without_a_request_is_late(
    client: RobotClient, server: Scripted, clock: FakeClock
) -> None:
    server.answer = lambda message: [action(9), action(4)] if getattr(message, "seq", 0) == 4 else []
    for seq in (3, 4):
        client.send(0, seq, VALUES)
    arrival = client.receive(0, 3, clock.ns + MS)
    assert arrival is not None
    assert arrival.tick == 4
    assert client.drops == Drops(late=1)


def test_a_reply_to_the_same_number_of_an_earlier_episode_is_late(
    client: RobotClient, server: Scripted, clock: FakeClock
) -> None:
    server.answer = lambda _: [action(0, episode=0)]
    client.send(1, 0, VALUES)
    assert client.receive(1, 0, clock.ns + MS) is None
    assert client.drops == Drops(late=1)


def test_reordered_or_repeated_replies_are_returned_at_most_once(
    client: RobotClient, server: Scripted, clock: FakeClock
) -> None:
    server.send(action(2), action(0), action(1), action(1))
    assert client.receive(0, 1, clock.ns + MS) is not None
    assert client.receive(0, 2, clock.ns + MS) is None
    assert client.drops.late + client.drops.repeated == 3


@pytest.mark.parametrize(
    "reply",
    [
        action(0, session=12),
        action(0, values=b""),
        action(0, values=floats(1.0)),
        action(0, values=floats(1.0, 2.0, 3.0)),
        action(0, values=bytes(7)),
    ],
)
def test_a_foreign_reply_is_counted_and_dropped(
    client: RobotClient, server: Scripted, clock: FakeClock, reply: messages.Action
) -> None:
    server.answer = lambda _: [reply]
    client.send(0, 0, VALUES)
    assert client.receive(0, 0, clock.ns + MS) is None
    assert client.drops == Drops(foreign=1)


@pytest.mark.parametrize("frame", [b"", b"\xc1", b"\x91" * 2000, msgpack.packb([5, 11, 0, 0]), msgpack.packb("x")])
def test_a_malformed_frame_is_counted_and_the_answer_after_it_is_used(
    client: RobotClient, server: Scripted, clock: FakeClock, frame: bytes
) -> None:
    server.answer = lambda _: [frame, action(0)]
    client.send(0, 0, VALUES)
    assert client.receive(0, 0, clock.ns + MS) is not None
    assert client.drops == Drops(malformed=1)


@pytest.mark.parametrize(
    "message", [hello(), messages.Observation(11, 0, 0, 1, b""), messages.Bye(11), READY, messages.Refused("")]
)
def test_messages_that_are_no_answer_are_skipped(
    client: RobotClient, server: Scripted, clock: FakeClock, message: messages.Message
) -> None:
    server.answer = lambda _: [message, action(0)]
    client.send(0, 0, VALUES)
    assert client.receive(0, 0, clock.ns + MS) is not None
    assert client.ready == READY


def test_an_error_for_the_current_tick_ends_the_wait_at_once_and_is_stored(
    client: RobotClient, server: Scripted, clock: FakeClock
) -> None:
    error = messages.Error(4, messages.NOT_FINITE, "x")
    server.answer = lambda _: [error]
    start_ns = client.send(0, 4, VALUES)
    assert client.receive(0, 4, start_ns + 10 * MS) is None
    assert clock.ns < start_ns + 10 * MS
    assert (client.last_error, client.drops) == (error, Drops(errors=1))


def test_an_error_for_an_earlier_tick_does_not_end_the_wait(
    client: RobotClient, server: Scripted, clock: FakeClock
) -> None:
    server.answer = lambda _: [messages.Error(3, messages.NOT_FINITE, "x"), action(4)]
    client.send(0, 4, VALUES)
    assert client.receive(0, 4, clock.ns + MS) is not None


def test_a_reply_from_a_thousand_ticks_ago_is_still_late(
    client: RobotClient, server: Scripted, clock: FakeClock
) -> None:
    for seq in range(1030):
        client.send(0, seq, VALUES)
        server.pump_all()
    server.send(action(5))
    assert client.receive(0, 1029, clock.ns + MS) is None
    assert client.drops.late == 1  # possibly with unsent ones: a thousand at once fill a queue


# ---- stream mode


def test_in_a_stream_the_newest_action_is_returned_and_older_ones_are_late(
    client: RobotClient, server: Scripted, clock: FakeClock
) -> None:
    sent = []
    for seq in range(3):
        clock.ns += MS
        sent.append(client.send(0, seq, VALUES))
    server.pump_all()
    server.send(action(0), action(2), action(1))
    arrival = client.newest(0)
    assert arrival is not None
    assert (arrival.message.seq, arrival.observed_ns) == (2, sent[2])
    assert client.drops == Drops(late=1)


def test_in_a_stream_a_second_action_on_the_same_observation_is_repeated_and_not_applied_again(
    client: RobotClient, server: Scripted
) -> None:
    server.send(action(0), action(0))
    assert client.newest(0) is not None
    server.send(action(0))
    assert client.newest(0) is None
    assert client.drops == Drops(repeated=2)


def test_in_a_stream_actions_of_the_last_episode_are_late(client: RobotClient, server: Scripted) -> None:
    server.send(action(7, episode=0))
    assert client.newest(1) is None
    server.send(action(0, episode=1))
    assert client.newest(1) is not None
    assert client.drops == Drops(late=1)


def test_in_a_stream_there_is_no_wait(client: RobotClient, clock: FakeClock) -> None:
    start_ns = clock.ns
    assert client.newest(0) is None
    assert clock.ns == start_ns


# ---- restarts


UNKNOWN = messages.Error(0, messages.UNKNOWN_SESSION, "")


def restarted(session: int = 22, **changes: Any) -> Answer:
    """Return the answers of a restarted server, which has only its new session."""

    def answer(message: messages.Message) -> list[messages.Message | bytes]:
        if isinstance(message, messages.Hello):
            return [READY._replace(session=session, **changes)]
        if not isinstance(message, messages.Observation):
            return []
        current = message.session == session
        return [action(message.seq, message.episode, session) if current else UNKNOWN._replace(seq=message.seq)]

    return answer


def test_after_a_restart_the_client_reconnects_within_the_tick_and_continues(
    client: RobotClient, server: Scripted, clock: FakeClock
) -> None:
    server.answer = restarted()
    sent_ns = client.send(0, 0, VALUES)
    clock.ns += MS
    arrival = client.receive(0, 0, clock.ns + MS)
    assert arrival is not None
    assert (arrival.tick, arrival.observed_ns) == (0, sent_ns)
    assert client.ready == READY._replace(session=22)
    assert client.drops.reconnects == 1
    observed = messages.Observation(11, 0, 0, sent_ns, VALUES)
    assert server.received == [hello(), observed, hello(), observed._replace(session=22)]


def test_a_late_error_from_before_a_new_session_does_not_end_the_wait_for_its_action(
    client: RobotClient, server: Scripted, clock: FakeClock
) -> None:
    """Two observations were sent before the server answered the first."""
    client.send(0, 0, VALUES)
    clock.ns += 10 * MS
    client.send(0, 1, VALUES)
    server.answer = restarted()
    assert client.receive(0, 1, clock.ns + MS) is not None
    assert client.drops.errors == 2


def test_an_observation_refused_by_a_new_session_too_is_not_sent_a_third_time(
    client: RobotClient, server: Scripted, clock: FakeClock
) -> None:
    error = messages.Error(0, messages.NOT_FINITE, "tip_x")

    def answer(message: messages.Message) -> list[messages.Message | bytes]:
        again = restarted()(message)
        return [error] if isinstance(message, messages.Observation) and message.session == 22 else again

    server.answer = answer
    client.send(0, 0, VALUES)
    assert client.receive(0, 0, clock.ns + MS) is None
    assert client.last_error == error
    assert sum(isinstance(message, messages.Observation) for message in server.received) == 2


def test_after_a_restart_replies_of_the_old_session_are_foreign(
    client: RobotClient, server: Scripted, clock: FakeClock
) -> None:
    server.answer = restarted()
    for seq in range(2):
        client.send(0, seq, VALUES)
        client.receive(0, seq, clock.ns + MS)
    assert client.ready.session == 22
    server.answer = lambda _: [action(2, session=11)]
    client.send(0, 2, VALUES)
    assert client.receive(0, 2, clock.ns + MS) is None
    assert client.drops.foreign == 1


def test_a_server_that_restarts_with_another_policy_is_rejected(
    client: RobotClient, server: Scripted, clock: FakeClock
) -> None:
    server.answer = restarted(fingerprint="e" * 64)
    for seq in range(20):
        clock.ns += 10 * MS
        client.send(0, seq, VALUES)
        assert client.receive(0, seq, clock.ns + MS) is None
    assert client.ready == READY
    assert client.drops.reconnects == 0


def test_a_server_that_was_swapped_to_another_policy_is_accepted(
    client: RobotClient, server: Scripted, clock: FakeClock
) -> None:
    predecessors = [READY.fingerprint, "d" * 64]
    server.answer = restarted(fingerprint="e" * 64, predecessors=predecessors)
    client.send(0, 0, VALUES)
    assert client.receive(0, 0, clock.ns + MS) is not None
    assert client.ready == READY._replace(session=22, fingerprint="e" * 64, predecessors=predecessors)
    assert client.drops.reconnects == 1


def test_another_policy_is_reported_as_the_error(client: RobotClient, server: Scripted, clock: FakeClock) -> None:
    server.answer = restarted(fingerprint="e" * 64)
    for seq in range(7):
        clock.ns += 10 * MS
        client.send(0, seq, VALUES)
        client.receive(0, seq, clock.ns + MS)
    assert client.last_error is not None
    assert client.last_error.signal == "the server came back with another policy"


def test_an_unanswered_new_handshake_is_repeated_every_tenth_of_a_second(
    client: RobotClient, server: Scripted, clock: FakeClock
) -> None:
    server.answer = lambda message: [UNKNOWN] if isinstance(message, messages.Observation) else []
    for seq in range(100):
        clock.ns += 10 * MS
        client.send(0, seq, VALUES)
        client.newest(0)
        server.pump_all()
        client.newest(0)
    assert 8 <= server.received.count(hello()) - 1 <= 10


def test_an_unrequested_ready_changes_nothing(client: RobotClient, server: Scripted) -> None:
    server.send(READY._replace(session=99))
    assert client.newest(0) is None
    assert client.ready == READY


def test_a_second_ready_after_the_requested_one_changes_nothing(
    client: RobotClient, server: Scripted, clock: FakeClock
) -> None:
    server.answer = restarted()
    for seq in range(2):
        client.send(0, seq, VALUES)
        client.receive(0, seq, clock.ns + MS)
    server.send(READY._replace(session=33))
    client.newest(0)
    assert client.ready.session == 22


@pytest.mark.parametrize("rate_hz", [5, 10, 100, 1000])
def test_the_client_reconnects_to_a_restarted_real_server(
    context: "zmq.Context[zmq.Socket[bytes]]", clock: FakeClock, waiting: FakeSelect, rate_hz: int
) -> None:
    """The second server has the first one's socket and none of its sessions."""
    with contextlib.closing(bind_router(context, ENDPOINT)) as socket:
        running = served(socket, PolicySlot(FakePolicy()), clock)

        def turn() -> bool:
            clock.ns += 1000
            waits = bool(socket.poll(0))
            if waits:
                running.turn()
            return waits

        def tick(seq: int) -> bool:
            clock.ns += 1_000_000_000 // rate_hz
            robot.send(0, seq, VALUES)
            return robot.receive(0, seq, clock.ns + MS // 2) is not None

        waiting.peers.append(turn)
        with contextlib.closing(
            RobotClient(DealerLink(context, ENDPOINT, clock), hello(rate_hz=rate_hz), clock, 1.0)
        ) as robot:
            assert tick(0)
            running = served(socket, PolicySlot(FakePolicy()), clock)
            assert all(tick(seq) for seq in range(1, 8))
            assert robot.drops.reconnects == 1
        turn()


# ---- pre-touch and the end


@pytest.mark.parametrize("frame", [b"", b"\xc1", messages.pack(messages.Bye(1))])
def test_a_pre_touch_run_sends_nothing_after_any_last_message(
    client: RobotClient, server: Scripted, frame: bytes
) -> None:
    server.pump_all()
    server.send(frame)
    client.newest(0)
    received = len(server.received)
    client.touch(VALUES)
    server.pump_all()
    assert len(server.received) == received


def test_a_pre_touch_run_decodes_the_last_answer_again_and_counts_nothing(
    client: RobotClient, server: Scripted, clock: FakeClock
) -> None:
    assert client.touch(VALUES) is None  # the last frame is no action
    server.answer = lambda _: [action(0)]
    client.send(0, 0, VALUES)
    answer = client.receive(0, 0, clock.ns + MS)
    assert answer is not None
    for _ in range(2):
        touched = client.touch(VALUES)
        assert touched is not None
        assert touched.message == answer.message
        np.testing.assert_array_equal(touched.values, answer.values)
    assert client.drops == Drops()


def test_a_client_sends_bye_when_it_closes(
    context: "zmq.Context[zmq.Socket[bytes]]", server: Scripted, clock: FakeClock
) -> None:
    RobotClient(DealerLink(context, ENDPOINT, clock), hello(), clock, 1.0).close()
    server.pump_all()
    assert server.received[-1] == messages.Bye(11)


def test_a_server_that_stops_reading_does_not_block_the_client(client: RobotClient, clock: FakeClock) -> None:
    start_ns = clock.ns
    for seq in range(3000):
        client.send(0, seq, VALUES)
    assert client.drops.unsent > 0
    assert clock.ns == start_ns
