"""Sockets: what may be bound, who is told that it is taken, and waiting that is neither short nor long."""

import socket as plain
import threading
import time
from pathlib import Path

import pytest
import zmq

from odeploy_runtime.cli.keys import main
from odeploy_runtime.errors import AddressError
from odeploy_runtime.realtime.clock import MonotonicClock
from odeploy_runtime.testing import FakeClock
from odeploy_runtime.transport.keys import KeyPair, RobotKeys, read_pair
from odeploy_runtime.transport.messages import MAX_FRAME_BYTES
from odeploy_runtime.transport.sockets import bind_router, connect_dealer, receive, send_at_once
from tests.unit.runtime.fakes import FakeSelect

Context = zmq.Context[zmq.Socket[bytes]]


def free_tcp() -> str:
    with plain.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"tcp://127.0.0.1:{probe.getsockname()[1]}"


def test_a_tcp_address_in_use_is_refused(context: Context) -> None:
    endpoint = free_tcp()
    with (
        bind_router(context, endpoint),
        pytest.raises(AddressError, match="another server answers") as raised,
    ):
        bind_router(context, endpoint)
    assert raised.value.where == f"endpoint {endpoint}"


def test_an_ipc_path_in_use_is_refused_and_the_first_server_keeps_it(context: Context, tmp_path: Path) -> None:
    """ZeroMQ itself would unlink the file and take its place without a word."""
    endpoint = f"ipc://{tmp_path}/s"
    with bind_router(context, endpoint) as first:
        with pytest.raises(AddressError, match="another server answers"):
            bind_router(context, endpoint)
        with connect_dealer(context, endpoint) as dealer:
            dealer.setsockopt(zmq.SNDTIMEO, 2000)
            dealer.send(b"still there")
            assert first.poll(2000)
            assert first.recv_multipart()[1] == b"still there"


def test_an_ipc_path_that_a_killed_server_left_is_taken(context: Context, tmp_path: Path) -> None:
    with plain.socket(plain.AF_UNIX) as dead:
        dead.bind(f"{tmp_path}/s")
        dead.listen()
    assert (tmp_path / "s").exists()
    bind_router(context, f"ipc://{tmp_path}/s").close()


@pytest.mark.parametrize(
    "endpoint",
    [
        "tcp://0.0.0.0:5555",
        "tcp://*:5555",
        "tcp://[::]:5555",
        "tcp://192.168.1.7:5555",
        "tcp://8.8.8.8:5555",
        "tcp://eth0:5555",
        "tcp://example.org:5555",
        "tcp://127.0.0.1.example.org:5555",
        "tcp://:5555",
        "tcp://",
    ],
)
def test_an_address_that_other_machines_reach_is_refused(context: Context, endpoint: str) -> None:
    with pytest.raises(
        AddressError, match="expected a loopback address, since without keys the wire is not encrypted"
    ):
        bind_router(context, endpoint)


def test_told_to_be_insecure_it_listens_everywhere(context: Context) -> None:
    bind_router(context, "tcp://0.0.0.0:*", insecure=True).close()


def test_with_keys_it_listens_everywhere(context: Context) -> None:
    bind_router(context, "tcp://0.0.0.0:*", KeyPair(*zmq.curve_keypair())).close()


def test_an_abstract_name_which_every_user_reaches_is_refused_without_keys(
    context: Context, tmp_path: Path
) -> None:
    name = f"ipc://@odeploy-{tmp_path.name}"
    with pytest.raises(AddressError, match="open to every user of this machine"):
        bind_router(context, name)
    bind_router(context, name, KeyPair(*zmq.curve_keypair())).close()


@pytest.mark.parametrize("endpoint", ["ws://0.0.0.0:5555", "pgm://eth0;239.192.1.1:5555", "TCP://0.0.0.0:5555"])
def test_ways_of_zeromq_that_are_not_ours_are_refused_even_if_insecure(context: Context, endpoint: str) -> None:
    with pytest.raises(AddressError, match="another kind of address"):
        bind_router(context, endpoint, insecure=True)


def test_a_server_with_keys_and_nobody_at_its_door_lets_nobody_in(context: Context, tmp_path: Path) -> None:
    main([str(tmp_path / "server")])
    main([str(tmp_path / "arm")])
    pair = read_pair(tmp_path / "server.key_secret")
    robot = RobotKeys(tmp_path / "arm.key_secret", tmp_path / "server.key")
    endpoint = f"ipc://{tmp_path}/s"
    with bind_router(context, endpoint, pair) as router, connect_dealer(context, endpoint, robot) as dealer:
        dealer.setsockopt(zmq.SNDTIMEO, 300)
        with pytest.raises(zmq.Again):
            dealer.send(b"let me in")
        assert not router.poll(100)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2"])
def test_loopback_addresses_are_bound(context: Context, host: str) -> None:
    bind_router(context, f"tcp://{host}:*").close()


@pytest.mark.parametrize("endpoint", ["nowhere", "udp://127.0.0.1:1", "tipc://{1,2,3}", "tcp://127.0.0.1:x", ""])
def test_what_is_no_address_of_ours_is_refused(context: Context, endpoint: str) -> None:
    with pytest.raises(AddressError) as raised:
        bind_router(context, endpoint)
    assert raised.value.where == f"endpoint {endpoint}"


def test_an_ipc_path_may_have_107_bytes_and_not_108(context: Context, tmp_path: Path) -> None:
    room = 107 - len(f"{tmp_path}/".encode())
    bind_router(context, f"ipc://{tmp_path}/{'s' * room}").close()
    with pytest.raises(AddressError, match="expected a path of at most 107 bytes") as raised:
        bind_router(context, f"ipc://{tmp_path}/{'s' * (room + 1)}")
    assert raised.value.got.startswith("108 bytes")


def test_the_limit_of_an_ipc_path_counts_bytes_not_characters(context: Context, tmp_path: Path) -> None:
    room = 107 - len(f"{tmp_path}/".encode())
    with pytest.raises(AddressError, match="at most 107 bytes"):
        bind_router(context, f"ipc://{tmp_path}/{'é' * (room // 2 + 1)}")


def test_an_ipc_path_in_a_folder_that_is_missing_is_refused(context: Context, tmp_path: Path) -> None:
    with pytest.raises(AddressError, match="in an existing folder"):
        bind_router(context, f"ipc://{tmp_path}/missing/s")


def test_a_refused_bind_leaves_no_socket_open() -> None:
    """A context with an open socket would hang in term."""
    with Context() as context:
        for endpoint in ("nowhere", "tcp://127.0.0.1:x", "tcp://0.0.0.0:1"):
            with pytest.raises(AddressError):
                bind_router(context, endpoint)
        with pytest.raises(AddressError):
            connect_dealer(context, "nowhere")


def test_both_ends_are_bounded(context: Context, tmp_path: Path) -> None:
    endpoint = f"ipc://{tmp_path}/s"
    with bind_router(context, endpoint) as router, connect_dealer(context, endpoint) as dealer:
        for sock in (router, dealer):
            assert sock.getsockopt(zmq.LINGER) == 0
            assert sock.getsockopt(zmq.MAXMSGSIZE) == MAX_FRAME_BYTES
            assert sock.getsockopt(zmq.SNDHWM) == sock.getsockopt(zmq.RCVHWM) == 8
        assert router.getsockopt(zmq.HANDSHAKE_IVL) == 2000
        assert dealer.getsockopt(zmq.IMMEDIATE) == 1
        assert dealer.getsockopt(zmq.ROUTING_ID) == b""


def test_a_dealer_queues_nothing_while_the_server_is_away(context: Context, tmp_path: Path) -> None:
    with connect_dealer(context, f"ipc://{tmp_path}/nobody") as dealer, pytest.raises(zmq.Again):
        dealer.send(b"stale", zmq.NOBLOCK)


def test_a_thousand_exchanges_lose_nothing_however_soon_one_follows_the_other(
    context: Context, tmp_path: Path
) -> None:
    """Without the second try, a twentieth of them would be refused: the queue seems full after eight in 1 ms."""
    with bind_router(context, f"ipc://{tmp_path}/s") as router, Context() as other:

        def echo() -> None:
            clock = MonotonicClock()
            for _ in range(1000):
                frames = receive(router, clock.now_ns() + 20_000_000_000, clock)
                assert frames is not None
                answered.append(send_at_once(router, *frames))
                time.sleep(10e-6)  # what is next to come is there before it is asked for

        answered: list[bool] = []
        thread = threading.Thread(target=echo)
        thread.start()
        with connect_dealer(other, f"ipc://{tmp_path}/s") as dealer:
            assert dealer.poll(20_000, zmq.POLLOUT)
            dealer.setsockopt(zmq.RCVTIMEO, 20_000)
            for _ in range(1000):
                assert send_at_once(dealer, b"observation")
                time.sleep(10e-6)
                assert dealer.recv() == b"observation"
        thread.join()
    assert answered == [True] * 1000


def test_a_message_for_a_robot_that_is_not_there_is_not_sent_and_nothing_of_it_is_left(
    context: Context, tmp_path: Path
) -> None:
    with (
        bind_router(context, f"ipc://{tmp_path}/s") as router,
        connect_dealer(context, f"ipc://{tmp_path}/s") as dealer,
    ):
        dealer.send(b"hello")
        identity, _ = router.recv_multipart()
        assert not send_at_once(router, b"nobody", b"action")
        assert send_at_once(router, identity, b"action")
        assert dealer.recv_multipart() == [b"action"]


def test_a_queue_that_is_full_takes_nothing_more(context: Context) -> None:
    with bind_router(context, "inproc://s") as router, connect_dealer(context, "inproc://s") as dealer:
        sent = [send_at_once(dealer, bytes([i])) for i in range(20)]
        assert sent == [True] * 16 + [False] * 4  # eight at either end
        assert [router.recv_multipart()[1] for _ in range(16)] == [bytes([i]) for i in range(16)]


def test_an_error_of_another_kind_is_not_hidden(context: Context) -> None:
    with bind_router(context, "inproc://s") as router:
        router.close()
        with pytest.raises(zmq.ZMQError, match="socket"):
            send_at_once(router, b"nobody", b"action")


def test_a_waiting_message_is_received_although_the_deadline_has_passed(
    context: Context, clock: FakeClock, waiting: FakeSelect
) -> None:
    with bind_router(context, "inproc://s") as router, connect_dealer(context, "inproc://s") as dealer:
        dealer.send(b"1")
        dealer.send(b"2")
        for said in (b"1", b"2"):
            message = receive(router, 0, clock)
            assert message is not None
            assert message[1:] == [said]
        assert receive(router, 0, clock) is None


def test_a_message_of_several_frames_is_received_whole(
    context: Context, clock: FakeClock, waiting: FakeSelect
) -> None:
    with bind_router(context, "inproc://s") as router, connect_dealer(context, "inproc://s") as dealer:
        dealer.send_multipart([b"a", b"", bytes(5000)])
        message = receive(router, 0, clock)
        assert message is not None
        assert message[1:] == [b"a", b"", bytes(5000)]


def test_without_a_message_the_wait_ends_at_the_deadline(
    context: Context, clock: FakeClock, waiting: FakeSelect
) -> None:
    with bind_router(context, "inproc://s") as router:
        deadline_ns = clock.ns + 12_345_678
        assert receive(router, deadline_ns, clock) is None
        assert clock.ns == deadline_ns


def test_a_wake_up_without_a_message_does_not_end_the_wait(
    context: Context, clock: FakeClock, waiting: FakeSelect
) -> None:
    """ZeroMQ's descriptor also signals what is no message."""
    woken: list[int] = []

    def wake() -> bool:
        woken.append(clock.ns)
        return len(woken) <= 5

    waiting.peers.append(wake)
    with bind_router(context, "inproc://s") as router:
        deadline_ns = clock.ns + 1000
        assert receive(router, deadline_ns, clock) is None
    assert len(woken) == 6
    assert clock.ns == deadline_ns


class Knocks:
    """Something aside that has so many things to do."""

    descriptors: tuple[int, ...] = ()

    def __init__(self, count: int) -> None:
        self.left, self.done = count, 0

    def run_once(self) -> bool:
        self.done += self.left > 0
        self.left -= 1
        return self.left >= 0


def test_what_is_aside_gets_its_turn_while_no_message_waits(
    context: Context, clock: FakeClock, waiting: FakeSelect
) -> None:
    with bind_router(context, "inproc://s") as router, connect_dealer(context, "inproc://s") as dealer:
        aside = Knocks(3)
        assert receive(router, clock.ns + 1000, clock, aside) is None
        assert aside.done == 3
        dealer.send(b"1")
        aside = Knocks(3)
        assert receive(router, clock.ns + 1000, clock, aside) is not None
        assert aside.done == 0


def test_what_is_aside_never_outlasts_the_deadline(
    context: Context, clock: FakeClock, waiting: FakeSelect
) -> None:
    with bind_router(context, "inproc://s") as router:
        assert receive(router, clock.ns, clock, Knocks(10**9)) is None


def test_a_message_from_another_thread_of_zeromq_wakes_the_real_wait(context: Context, tmp_path: Path) -> None:
    endpoint, clock = f"ipc://{tmp_path}/s", MonotonicClock()
    with bind_router(context, endpoint) as router, connect_dealer(context, endpoint) as dealer:
        dealer.setsockopt(zmq.SNDTIMEO, 5000)
        for _ in range(20):
            dealer.send(b"x")
            assert receive(router, clock.now_ns() + 5_000_000_000, clock) is not None
