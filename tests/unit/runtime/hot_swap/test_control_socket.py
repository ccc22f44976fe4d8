"""The control socket: for this user on this machine, and no request waits for another one."""

import os
import socket
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import msgpack
import pytest

from odeploy_runtime.errors import AddressError, RelayedError, UnreachableError, UsageError
from odeploy_runtime.hot_swap.control_socket import ControlSocket, control_path, request


def answer(words: Sequence[str], descriptors: Sequence[int]) -> str:
    """Return a description of the request."""
    if list(words) == ["no"]:
        raise UsageError(where="here", expected="yes", got="no", remedy="say yes")
    if list(words) == ["defect"]:
        raise RuntimeError("oops")
    return f"{list(words)} with {[os.pread(d, 100, 0) for d in descriptors]}"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "s.ipc.control"


@pytest.fixture
def control(path: Path) -> Iterator[ControlSocket]:
    with closing(ControlSocket(path, answer)) as made:
        yield made


def test_words_and_opened_files_arrive_and_the_answer_comes_back(control: ControlSocket, path: Path) -> None:
    file = path.with_name("policy.onnx")
    file.write_bytes(b"weights")
    with file.open("rb") as opened:
        assert request(str(path), ["swap", "a b"], [opened.fileno()]) == "['swap', 'a b'] with [b'weights']"
        opened.read(1)  # the sender's descriptor stays open


def test_no_descriptor_is_left_open(control: ControlSocket, path: Path) -> None:
    def opened() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    with open(os.devnull, "rb") as file:  # noqa: PTH123
        before = opened()
        for _ in range(20):
            request(str(path), ["x"], [file.fileno()] * 2)
        assert opened() <= before + 1  # the last connection may still be closing


def test_a_server_is_found_by_its_endpoint(control: ControlSocket, path: Path) -> None:
    assert request(f"ipc://{path.with_name('s.ipc')}", ["x"]) == "['x'] with []"


@pytest.mark.parametrize(
    ("endpoint", "place"),
    [
        ("ipc:///tmp/odeploy.ipc", Path("/tmp/odeploy.ipc.control")),
        ("tcp://127.0.0.1:5555", None),
        ("ipc://@abstract", None),
        ("ipc://*", None),
    ],
)
def test_the_control_socket_of_an_endpoint_is_next_to_its_socket_file(endpoint: str, place: Path | None) -> None:
    assert control_path(endpoint) == place


def test_a_refusal_is_one_line_at_the_sender(control: ControlSocket, path: Path) -> None:
    with pytest.raises(RelayedError, match=r"^here: expected yes, got no; say yes$"):
        request(str(path), ["no"])


def test_an_internal_error_is_reported_and_the_next_request_is_answered(
    control: ControlSocket, path: Path
) -> None:
    with pytest.raises(RelayedError, match="RuntimeError: oops"):
        request(str(path), ["defect"])
    assert request(str(path), ["x"]) == "['x'] with []"


@pytest.mark.parametrize("data", [b"", b"\xc1", b"x" * 8000, msgpack.packb(7), msgpack.packb([["x"]])])
def test_a_malformed_request_blocks_no_other(control: ControlSocket, path: Path, data: bytes) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as peer:
        peer.connect(str(path))
        peer.send(data)
        peer.recv(8192)
    assert request(str(path), ["x"]) == "['x'] with []"


def test_a_silent_connection_and_a_closed_one_block_no_other(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("odeploy_runtime.hot_swap.control_socket._SENT_WITHIN_S", 0.05)
    with closing(ControlSocket(path, answer)), socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as silent:
        silent.connect(str(path))
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as hasty:
            hasty.connect(str(path))
            hasty.send(msgpack.packb(["x"]))
        assert request(str(path), ["x"]) == "['x'] with []"


def test_a_request_does_not_wait_for_a_slow_one(path: Path) -> None:
    asked, end = threading.Event(), threading.Event()

    def slow(words: Sequence[str], _descriptors: Sequence[int]) -> str:
        if list(words) == ["slow"]:
            asked.set()
            end.wait()
        return words[0]

    with closing(ControlSocket(path, slow)), ThreadPoolExecutor() as pool:
        first = pool.submit(request, str(path), ["slow"])
        asked.wait()
        assert request(str(path), ["urgent"]) == "urgent"
        assert not first.done()
        end.set()
        assert first.result() == "slow"


def test_only_this_user_can_open_the_socket_and_it_is_removed_with_the_server(path: Path) -> None:
    control = ControlSocket(path, answer)
    assert path.stat().st_mode & 0o777 == 0o600
    control.close()
    assert not path.exists()
    with pytest.raises(
        UnreachableError, match="expected the answer of a server of this machine and user"
    ) as raised:
        request(str(path), ["x"])
    assert raised.value.where == f"control socket {path}"


def test_the_socket_of_a_killed_server_is_replaced(path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as left:
        left.bind(str(path))
    with closing(ControlSocket(path, answer)):
        assert request(str(path), ["x"]) == "['x'] with []"


def test_a_path_with_a_listening_server_is_refused_and_unchanged(control: ControlSocket, path: Path) -> None:
    with pytest.raises(AddressError, match="another server answers"):
        ControlSocket(path, answer)
    assert request(str(path), ["x"]) == "['x'] with []"


def test_a_file_that_is_no_socket_is_refused_and_unchanged(path: Path) -> None:
    path.write_text("mine")
    with pytest.raises(AddressError, match="got a file, which stays as it is"):
        ControlSocket(path, answer)
    assert path.read_text() == "mine"


@pytest.mark.parametrize("name", ["no/such/folder", "x" * 108])
def test_a_path_that_cannot_be_bound_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(AddressError, match="at most 107 bytes in an existing folder"):
        ControlSocket(tmp_path / name, answer)
