"""Sockets: allowed addresses, addresses in use, and exact waits."""

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
    """ZeroMQ itself would silently replace the file."""
    endpoint = f"ipc://{tmp_path}/s"
    with bind_router(context, endpoint) as first:
        with pytest.raises(AddressError, match="another server answers"):
            bind_router(context, endpoint)
        with connect_dealer(context, endpoint) as dealer:
            dealer.setsockopt(zmq.SNDTIMEO, 2000)
            dealer.send(b"still there")
            assert first.poll(2000)
            assert first.recv_multipart()[1] == b"still there"


def test_an_ipc_path_left_by_a_killed_server_is_reused(context: Context, tmp_path: Path) -> None:
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


def test_with_insecure_it_listens_everywhere(context: Context) -> None:
    bind_router(context, "tcp://0.0.0.0:*", insecure=True).close()


def test_with_keys_it_listens_everywhere(context: Context) -> None:
    bind_router(context, "tcp://0.0.0.0:*", KeyPair(*zmq.curve_keypair())).close()


def test_an_abstract_name_is_refused_without_keys(context: Context, tmp_path: Path) -> None:
    name = f"ipc://@odeploy-{tmp_path.name}"
    with pytest.raises(AddressError, match="open to every user of this machine"):
        bind_router(context, name)
    bind_router(context, name, KeyPair(*zmq.curve_keypair())).close()


@pytest.mark.parametrize("endpoint", ["ws://0.0.0.0:5555", "pgm://eth0;239.192.1.1:5555", "TCP://0.0.0.0:5555"])
def test_other_transports_of_zeromq_are_refused_even_with_insecure(context: Context, endpoint: str) -> None:
    with pytest.raises(AddressError, match="another kind of address"):
        bind_router(context, endpoint, insecure=True)


def test_a_server_with_keys_and_without_an_authenticator_accepts_no_robot(
    context: Context, tmp_path: Path
) -> None:
    main([str(tmp_path / "server")])
    main([str(tmp_path / "arm")])
    pair = read_pair(tmp_path / "server.key_secret")
    robot = RobotKeys(tmp_path / "arm.key_secret", tmp_path / "server.key")
    endpoint = f"ipc://{tmp_path}/s"
    with bind_router(context, endpoint, pair) as router, connect_dealer(context, endpoint, robot) as dealer:
        dealer.setsockopt(zmq.SNDTIMEO, 300)
        with pytest.raises(zmq.Again):
            dealer.send(b"hello")
        assert not router.poll(100)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2"])
def test_loopback_addresses_are_bound(context: Context, host: str) -> None:
    bind_router(context, f"tcp://{host}:*").close()


@pytest.mark.parametrize("endpoint", ["nowhere", "udp://127.0.0.1:1", "tipc://{1,2,3}", "tcp://127.0.0.1:x", ""])
def test_an_invalid_address_is_refused(context: Context, endpoint: str) -> None:
    with pytest.raises(AddressError) as raised:
        bind_router(context, endpoint)
    assert raised.value.where == f"endpoint {endpoint}"


def test_an_ipc_path_leaves_room_for_that_of_its_control_socket(context: Context, tmp_path: Path) -> None:
    room = 99 - len(f"{tmp_path}/".encode())
    bind_router(context, f"ipc://{tmp_path}/{'s' * room}").close()
    with pytest.raises(AddressError, match="expected a path of at most 99 bytes") as raised:
        bind_router(context, f"ipc://{tmp_path}/{'s' * (room + 1)}")
    assert raised.value.got.startswith("100 bytes")


def test_the_limit_of_an_ipc_path_counts_bytes_and_not_characters(context: Context, tmp_path: Path) -> None:
    room = 99 - len(f"{tmp_path}/".encode())
    with pytest.raises(AddressError, match="at most 99 bytes"):
        bind_router(context, f"ipc://{tmp_path}/{'é' * (room // 2 + 1)}")


def test_a_file_or_folder_at_an_ipc_path_is_refused_and_unchanged(context: Context, tmp_path: Path) -> None:
    file = tmp_path / "policy.onnx"
    file.write_text("mine")
    for path, got in ((file, "a file, which stays as it is"), (tmp_path, "a folder")):
        with pytest.raises(AddressError, match=f"expected a free path, got {got}"):
            bind_router(context, f"ipc://{path}")
    assert file.read_text() == "mine"


@pytest.mark.parametrize("port", [65536, 99999])
def test_a_port_out_of_range_is_refused(context: Context, port: int) -> None:
    with pytest.raises(AddressError, match=f"expected a port of at most 65535, got {port}"):
        bind_router(context, f"tcp://127.0.0.1:{port}")


def test_an_ipc_path_in_a_missing_folder_is_refused(context: Context, tmp_path: Path) -> None:
    with pytest.raises(AddressError, match="in an existing folder"):
        bind_router(context, f"ipc://{tmp_path}/missing/s")


def test_a_refused_bind_leaves_no_socket_open() -> None:
    """With an open socket, the context's end would block."""
    with Context() as context:
        for endpoint in ("nowhere", "tcp://127.0.0.1:x", "tcp://0.0.0.0:1"):
            with pytest.raises(AddressError):
                bind_router(context, endpoint)
        with pytest.raises(AddressError):
            connect_dealer(context, "nowhere")


def test_both_ends_have_bounded_queues_and_frames(context: Context, tmp_path: Path) -> None:
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
    with connect_dealer(context, f"ipc://{tmp_path}/absent") as dealer, pytest.raises(zmq.Again):
        dealer.send(b"stale", zmq.NOBLOCK)


def test_a_thousand_exchanges_in_quick_succession_lose_nothing(context: Context, tmp_path: Path) -> None:
    """Without a second try, one in twenty would be refused: the queue appears full after eight in 1 ms."""
    with bind_router(context, f"ipc://{tmp_path}/s") as router, Context() as other:

        def echo() -> None:
            clock = MonotonicClock()
            for _ in range(1000):
                frames = receive(router, clock.now_ns() + 20_000_000_000, clock)
                assert frames is not None
                answered.append(send_at_once(router, *frames))
                time.sleep(10e-6)  # the next message is there before it is requested

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


def test_a_message_for_an_absent_robot_is_not_sent_and_leaves_no_frame(context: Context, tmp_path: Path) -> None:
    with (
        bind_router(context, f"ipc://{tmp_path}/s") as router,
        connect_dealer(context, f"ipc://{tmp_path}/s") as dealer,
    ):
        dealer.send(b"hello")
        identity, _ = router.recv_multipart()
        assert not send_at_once(router, b"absent", b"action")
        assert send_at_once(router, identity, b"action")
        assert dealer.recv_multipart() == [b"action"]


def test_a_full_queue_accepts_no_more_messages(context: Context) -> None:
    with bind_router(context, "inproc://s") as router, connect_dealer(context, "inproc://s") as dealer:
        sent = [send_at_once(dealer, bytes([i])) for i in range(20)]
        assert sent == [True] * 16 + [False] * 4  # eight at each end
        assert [router.recv_multipart()[1] for _ in range(16)] == [bytes([i]) for i in range(16)]


def test_another_error_is_raised(context: Context) -> None:
    with bind_router(context, "inproc://s") as router:
        router.close()
        with pytest.raises(zmq.ZMQError, match="socket"):
            send_at_once(router, b"absent", b"action")


def test_a_waiting_message_is_received_after_the_deadline(
    context: Context, clock: FakeClock, waiting: FakeSelect
) -> None:
    with bind_router(context, "inproc://s") as router, connect_dealer(context, "inproc://s") as dealer:
        dealer.send(b"1")
        dealer.send(b"2")
        for expected in (b"1", b"2"):
            message = receive(router, 0, clock)
            assert message is not None
            assert message[1:] == [expected]
        assert receive(router, 0, clock) is None


def test_a_message_of_several_frames_is_received_completely(
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
    """ZeroMQ's descriptor also signals other events than messages."""
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


def test_a_message_from_another_thread_of_zeromq_wakes_the_real_wait(context: Context, tmp_path: Path) -> None:
    endpoint, clock = f"ipc://{tmp_path}/s", MonotonicClock()
    with bind_router(context, endpoint) as router, connect_dealer(context, endpoint) as dealer:
        dealer.setsockopt(zmq.SNDTIMEO, 5000)
        for _ in range(20):
            dealer.send(b"x")
            assert receive(router, clock.now_ns() + 5_000_000_000, clock) is not None
