"""The commands that change a server's policy: what they send, and where."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from odeploy_runtime.cli.hot_swap import rollback, shadow, swap
from odeploy_runtime.errors import UsageError
from odeploy_runtime.hot_swap.control_socket import ControlSocket
from tests.hostile_text import CLEARS_SCREEN, CLOSES_TAG, assert_harmless


class Server:
    """A control socket that answers with the words it got."""

    def __init__(self, folder: Path) -> None:
        self.endpoint, self.got = f"ipc://{folder}/s.ipc", list[list[str]]()
        self.line = "served"
        self.control = ControlSocket(folder / "s.ipc.control", self._answer)

    def _answer(self, words: Sequence[str], _descriptors: Sequence[int]) -> str:
        self.got.append([*words])
        return self.line


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(tmp_path)
    with closing(made.control):
        yield made


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "next.onnx"
    path.write_bytes(b"a policy")
    return str(path)


def test_the_server_is_named_in_place_or_by_an_option(server: Server, file: str, tmp_path: Path) -> None:
    out = ["--out", str(tmp_path / "shadow.jsonl")]
    for address in (
        [server.endpoint],
        ["--server", server.endpoint],
        [server.endpoint, "--server", server.endpoint],
    ):
        swap([file, *address])
        rollback(address)
        shadow([file, *address, *out])
        shadow(["off", *address])
    assert server.got == 3 * [["swap", file], ["rollback"], ["shadow", file], ["shadow"]]


def test_two_different_servers_are_refused(server: Server, file: str) -> None:
    for command, words in ((swap, [file]), (rollback, []), (shadow, [file])):
        with pytest.raises(UsageError, match="--server: expected one server, got ipc:///a and ipc:///b;"):
            command([*words, "ipc:///a", "--server", "ipc:///b"])


def test_allowed_differences_are_sent_and_unknown_words_are_refused(server: Server, file: str) -> None:
    swap([file, server.endpoint, "--allow", "units, limits"])
    assert server.got == [["swap", file, "units", "limits"]]
    for words in ("unit", "units,", "units;limits"):
        with pytest.raises(UsageError, match="--allow: expected some of units,limits"):
            swap([file, server.endpoint, "--allow", words])


def test_an_abort_names_no_file(server: Server, file: str) -> None:
    swap(["--abort", "--server", server.endpoint])
    assert server.got == [["abort"]]
    with pytest.raises(UsageError, match="--abort: expected no file and no --allow"):
        swap([file, server.endpoint, "--abort"])
    with pytest.raises(UsageError, match="expected a policy file, or --abort, got neither"):
        swap(["--server", server.endpoint])


@pytest.mark.parametrize("text", [CLEARS_SCREEN, CLOSES_TAG])
def test_the_servers_line_is_printed_as_it_is(
    server: Server, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    server.line = f"serving {text}\nagain"
    rollback([server.endpoint])
    printed = capsys.readouterr().out
    assert_harmless(printed)
    assert printed.count("\n") == 1
