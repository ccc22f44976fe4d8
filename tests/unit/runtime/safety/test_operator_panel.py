"""The operator's panel: every command reaches the robot, silence opens the switch, floods do no harm."""

import contextlib
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from odeploy_runtime.errors import AddressError, UnreachableError, UsageError
from odeploy_runtime.safety.operator_panel import Panel, send_word
from odeploy_runtime.safety.states import Operator
from odeploy_runtime.testing import FakeClock

MS = 1_000_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "robot.panel"


@pytest.fixture
def panel(path: Path, clock: FakeClock) -> Iterator[Panel]:
    with closing(Panel(path, dead_man=True, clock=clock)) as made:
        yield made


@pytest.fixture
def operator() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
        made.setblocking(False)
        yield made


def test_without_a_dead_man_switch_it_counts_as_held(path: Path, clock: FakeClock) -> None:
    with closing(Panel(path, dead_man=False, clock=clock)) as panel:
        assert panel.read() == Operator(stop=False, held=True, rearm=False)
        panel.wait_held(0)


def test_a_switch_is_open_before_it_is_first_held(panel: Panel) -> None:
    assert panel.read() == Operator(held=False)


def test_a_switch_is_held_for_200_ms_after_each_message(
    panel: Panel, path: Path, clock: FakeClock, operator: socket.socket
) -> None:
    for _ in range(2):
        send_word(operator, "hold", path)
        assert panel.read().held
        clock.ns += 200 * MS - 1
        assert panel.read().held
        clock.ns += 1
        assert not panel.read().held


def test_a_stop_lasts_until_a_rearming_which_is_read_once(
    panel: Panel, path: Path, operator: socket.socket
) -> None:
    send_word(operator, "stop", path)
    assert [panel.read().stop for _ in range(3)] == [True] * 3
    send_word(operator, "rearm", path)
    assert panel.read() == Operator(stop=False, held=False, rearm=True)
    assert panel.read() == Operator(stop=False, held=False, rearm=False)


def test_the_later_of_a_waiting_stop_and_rearming_counts(
    panel: Panel, path: Path, operator: socket.socket
) -> None:
    for words, expected in ((("rearm", "stop"), (True, False)), (("stop", "rearm"), (False, True))):
        for word in words:
            send_word(operator, word, path)  # type: ignore[arg-type]
        read = panel.read()
        assert (read.stop, read.rearm) == expected


def test_a_command_is_kept_until_the_next_one(panel: Panel, path: Path, operator: socket.socket) -> None:
    assert not panel.command
    send_word(operator, "command", path, (0.5, -1e-3, 2.0))
    assert [panel.read() for _ in range(2)] == [Operator(held=False)] * 2
    assert list(panel.command) == [0.5, -1e-3, 2.0]
    send_word(operator, "command", path, (0.25,))
    panel.read()
    assert list(panel.command) == [0.25]


def test_a_command_replaces_signals_if_it_has_the_right_number_of_values(
    panel: Panel, path: Path, operator: socket.socket
) -> None:
    sensed = np.array([1, 2, 3], np.float32)
    assert panel.commanded(sensed, (2, 0)) is sensed
    send_word(operator, "command", path, (0.5, -0.5))
    panel.read()
    assert panel.commanded(sensed, (2, 0)).tolist() == [-0.5, 2, 0.5]
    assert sensed.tolist() == [1, 2, 3]
    assert panel.commanded(sensed, (2,)) is sensed


@pytest.mark.parametrize("data", [b"command", b"command ", b"command fast", b"command 1 nan", b"command inf"])
def test_an_invalid_command_leaves_the_previous_one(
    panel: Panel, path: Path, operator: socket.socket, data: bytes
) -> None:
    send_word(operator, "command", path, (1.5,))
    operator.sendto(data, str(path))
    assert panel.read() == Operator(held=False)
    assert panel.command == (1.5,)


@pytest.mark.parametrize(
    ("word", "numbers"),
    [("command", ()), ("command", (float("nan"),)), ("command", (0.1,) * 200), ("stop", (1.0,))],
)
def test_only_a_command_can_be_sent_with_numbers(
    panel: Panel, path: Path, operator: socket.socket, word: str, numbers: tuple[float, ...]
) -> None:
    with pytest.raises(UsageError, match="finite numbers after `command`"):
        send_word(operator, word, path, numbers)  # type: ignore[arg-type]
    assert panel.read() == Operator(held=False)


@pytest.mark.parametrize("word", [b"", b"STOP", b"stop\n", b"x" * 500, b"\xff"])
def test_an_unknown_word_changes_nothing(panel: Panel, path: Path, operator: socket.socket, word: bytes) -> None:
    operator.sendto(word, str(path))
    assert panel.read() == Operator(held=False)


def test_a_stop_after_a_flood_is_read_at_the_next_tick(panel: Panel, path: Path, operator: socket.socket) -> None:
    with contextlib.suppress(BlockingIOError):  # the kernel keeps few messages
        for _ in range(10_000):
            operator.sendto(b"noise", str(path))
    panel.read()
    send_word(operator, "stop", path)
    assert panel.read().stop


def test_only_this_user_can_open_the_socket_and_it_is_removed_with_the_panel(path: Path, clock: FakeClock) -> None:
    panel = Panel(path, dead_man=False, clock=clock)
    assert path.stat().st_mode & 0o777 == 0o600
    panel.close()
    assert not path.exists()


def test_an_existing_file_is_refused_and_unchanged(path: Path, clock: FakeClock) -> None:
    path.write_text("mine")
    with pytest.raises(AddressError, match="got a file, which stays as it is; give another path"):
        Panel(path, dead_man=False, clock=clock)
    assert path.read_text() == "mine"


@pytest.mark.parametrize("name", ["no/such/folder", "x" * 108])
def test_a_path_that_cannot_be_bound_is_refused(tmp_path: Path, clock: FakeClock, name: str) -> None:
    with pytest.raises(AddressError, match="at most 107 bytes in an existing folder"):
        Panel(tmp_path / name, dead_man=False, clock=clock)


def test_the_wait_for_the_switch_ends_after_the_timeout(panel: Panel, path: Path, clock: FakeClock) -> None:
    start_ns = clock.ns
    with pytest.raises(UnreachableError, match="expected an operator holding it within 2 s, got none") as raised:
        panel.wait_held(2.0)
    assert raised.value.remedy == f"in another terminal: odeploy operate hold {path}"
    assert 2000 * MS <= clock.ns - start_ns <= 2100 * MS


def test_the_wait_ends_when_the_switch_is_held(
    panel: Panel, path: Path, clock: FakeClock, operator: socket.socket
) -> None:
    start_ns = clock.ns
    clock.on_sleep = lambda _: send_word(operator, "hold", path)
    panel.wait_held(2.0)
    assert clock.ns - start_ns <= 50 * MS
