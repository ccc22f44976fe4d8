"""Sockets: what may be bound, who is told that it is taken, and waiting that is neither short nor long."""

import socket as plain
from pathlib import Path

import pytest
import zmq

from runtime.clock import MonotonicClock
from runtime.errors import AddressError
from runtime.sockets import bind_router, connect_dealer, wait_readable
from runtime.wire import MAX_FRAME_BYTES
from tests.unit.runtime.fakes import FakeClock, FakeSelect

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
    with pytest.raises(AddressError, match="expected a loopback address: the wire is not encrypted"):
        bind_router(context, endpoint)


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
    with pytest.raises(AddressError, match="in a folder that exists"):
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
        assert dealer.getsockopt(zmq.IMMEDIATE) == 1
        assert dealer.getsockopt(zmq.SNDHWM) == dealer.getsockopt(zmq.RCVHWM) == 8
        assert dealer.getsockopt(zmq.ROUTING_ID) == b""


def test_a_dealer_queues_nothing_while_the_server_is_away(context: Context, tmp_path: Path) -> None:
    with connect_dealer(context, f"ipc://{tmp_path}/nobody") as dealer, pytest.raises(zmq.Again):
        dealer.send(b"stale", zmq.NOBLOCK)


def test_a_waiting_message_is_readable_although_the_deadline_has_passed(
    context: Context, clock: FakeClock, waiting: FakeSelect
) -> None:
    with bind_router(context, "inproc://s") as router, connect_dealer(context, "inproc://s") as dealer:
        dealer.send(b"1")
        dealer.send(b"2")
        for _ in range(2):
            assert wait_readable(router, 0, clock)
            router.recv_multipart()
        assert not wait_readable(router, 0, clock)


def test_without_a_message_the_wait_ends_at_the_deadline(
    context: Context, clock: FakeClock, waiting: FakeSelect
) -> None:
    with bind_router(context, "inproc://s") as router:
        deadline_ns = clock.ns + 12_345_678
        assert not wait_readable(router, deadline_ns, clock)
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
        assert not wait_readable(router, deadline_ns, clock)
    assert len(woken) == 6
    assert clock.ns == deadline_ns


def test_a_message_from_another_thread_of_zeromq_wakes_the_real_wait(context: Context, tmp_path: Path) -> None:
    endpoint, clock = f"ipc://{tmp_path}/s", MonotonicClock()
    with bind_router(context, endpoint) as router, connect_dealer(context, endpoint) as dealer:
        dealer.setsockopt(zmq.SNDTIMEO, 5000)
        for _ in range(20):
            dealer.send(b"x")
            assert wait_readable(router, clock.now_ns() + 5_000_000_000, clock)
            router.recv_multipart()
