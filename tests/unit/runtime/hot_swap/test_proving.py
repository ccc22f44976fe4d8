"""The child process that checks a file before the server loads it."""

import io
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from odeploy_runtime.errors import RefusedError, RelayedError, WorkerError
from odeploy_runtime.hot_swap.proving import Proof, prove, proven
from odeploy_runtime.policy_file.signature import new_pair, read_secret, sign
from odeploy_runtime.transport.keys import SIGN_PUBLIC, SIGN_SECRET, write_pair
from tests.unit.runtime.scaled_policy import endless_bytes, scaled_bytes


def test_a_child_accepts_a_good_file_and_refuses_an_altered_one_in_one_line() -> None:
    good = scaled_bytes(0.5)
    prove(good, "good.onnx", "cpu", None, Proof())
    altered = bytearray(good)
    altered[len(good) // 2] ^= 1
    with pytest.raises(RelayedError, match=r"^bad\.onnx.*; copy the file again") as raised:
        prove(bytes(altered), "bad.onnx", "cpu", None, Proof())
    assert "\n" not in str(raised.value)


class Child:
    """The child's program, run in this process."""

    def __init__(self, patch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._patch, self._capsys = patch, capsys
        patch.setattr("os.nice", lambda _: 0)

    def output(self, data: bytes, signers: Path | None = None) -> str:
        self._patch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(data)))
        policy = proven("policy.onnx", "cpu", signers)
        begun, _, output = self._capsys.readouterr().out.partition("\n")
        assert begun == "begun"
        assert (policy is not None) == (output == "proven\n")
        return output


@pytest.fixture
def child(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Child:
    return Child(monkeypatch, capsys)


def test_a_file_with_wrong_golden_rows_is_refused_with_the_signal(child: Child) -> None:
    assert child.output(scaled_bytes(0.5)) == "proven\n"
    output = child.output(scaled_bytes(0.5, recorded=0.7))
    assert output.startswith(
        "policy.onnx, golden row 0, signal motor_y: expected the recorded action within 1e-05"
    )


def test_with_required_signatures_an_unsigned_file_is_refused(child: Child, tmp_path: Path) -> None:
    write_pair(tmp_path / f"signer{SIGN_PUBLIC}", tmp_path / f"signer{SIGN_SECRET}", *new_pair())
    signed = sign(scaled_bytes(0.5), read_secret(tmp_path / f"signer{SIGN_SECRET}"), "signed.onnx")
    assert child.output(signed, tmp_path) == "proven\n"
    assert "expected a signature by a key in" in child.output(scaled_bytes(0.5), tmp_path)


def children() -> set[int]:
    """Return the child processes of all threads of this process."""
    lists = (Path(f"/proc/self/task/{task}/children") for task in os.listdir("/proc/self/task"))  # noqa: PTH208
    return {int(pid) for each in lists for pid in each.read_text().split()}


def test_a_killed_child_is_an_error_that_names_the_signal() -> None:
    before = children()

    def kill() -> None:
        while not (found := children() - before):
            time.sleep(0.001)
        os.kill(found.pop(), signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(WorkerError, match="expected the file to load, got its death by SIGKILL"):
        prove(scaled_bytes(0.5), "good.onnx", "cpu", None, Proof())
    killer.join()


def test_a_child_is_ended_after_a_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("odeploy_runtime.hot_swap.proving._PROVEN_WITHIN_S", 0.001)
    before = children()
    with pytest.raises(WorkerError, match=r"got none within 0\.001 s"):
        prove(scaled_bytes(0.5), "good.onnx", "cpu", None, Proof())
    assert children() <= before


def test_the_file_is_blamed_only_for_what_happens_after_it_was_read(monkeypatch: pytest.MonkeyPatch) -> None:
    for source, blamed in (("raise SystemExit('decoy')", False), ("print('begun', flush=True); 1 / 0", True)):
        monkeypatch.setattr(
            "odeploy_runtime.hot_swap.proving.python_module",
            lambda *_, source=source, **__: [sys.executable, "-c", source],
        )
        with pytest.raises(WorkerError, match="got its exit with 1") as raised:
            prove(b"", "good.onnx", "cpu", None, Proof())
        assert ("the file is at fault" in str(raised.value)) == blamed
        assert ("failed before it read the file" in str(raised.value)) != blamed


def test_another_thread_ends_a_proof() -> None:
    before, proof = children(), Proof()

    def end() -> None:
        while not children() - before:
            time.sleep(0.001)
        proof.end("a test")

    ending = threading.Thread(target=end)
    ending.start()
    with pytest.raises(RefusedError, match="expected its proof to go on, got its end by a test"):
        prove(endless_bytes(), "endless.onnx", "cpu", None, proof)
    ending.join()
    assert children() <= before


def test_a_proof_that_was_ended_before_its_child_began_ends_at_once() -> None:
    proof = Proof()
    proof.end("a test")
    with pytest.raises(RefusedError, match="its end by a test"):
        prove(endless_bytes(), "endless.onnx", "cpu", None, proof)


def test_a_child_ends_with_its_killed_server() -> None:
    code = """
import os, sys
from odeploy_runtime.hot_swap.proving import prove
from odeploy_runtime.realtime import child_process
began = child_process.start
def start(*arguments, **options):
    options["stdin"] = int(sys.argv[1])
    child = began(*arguments, **options)
    print(child.pid, flush=True)
    return child
import odeploy_runtime.hot_swap.proving as proving
proving.start = start
prove(b"", "w", "cpu", None, proving.Proof())
"""
    nothing, open_end = os.pipe()
    command = [sys.executable, "-c", code, str(nothing)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, pass_fds=[nothing]) as server:
        assert server.stdout is not None
        child, own_nice = int(server.stdout.readline()), os.nice(0)
        wait_for(lambda: os.getpriority(os.PRIO_PROCESS, child) > own_nice)  # from then on it waits for its file
        server.kill()
    wait_for(lambda: not Path(f"/proc/{child}").exists() or ") Z" in Path(f"/proc/{child}/stat").read_text())
    os.close(nothing)
    os.close(open_end)


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
