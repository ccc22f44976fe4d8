"""What an operator may change: each request is done, or refused with the old policy in its place."""

import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from odeploy_runtime.errors import ContractError, MissingError, RelayedError, UsageError
from odeploy_runtime.hot_swap.slot import PolicySlot
from odeploy_runtime.hot_swap.swapper import Swapper
from odeploy_runtime.inference.onnx_policy import OnnxPolicy
from odeploy_runtime.policy_file.file import parse
from odeploy_runtime.realtime.counters import SERVER, Counters
from odeploy_runtime.testing import FakeClock
from tests.unit.runtime.scaled_policy import OBSERVATION, scaled_bytes


class Loop:
    """Stands for the server: a thread that takes what is offered."""

    def __init__(self) -> None:
        self.slot = PolicySlot(OnnxPolicy(parse(Path("first.onnx"), scaled_bytes(0.5))))
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._ended.wait(0.001):
            self.slot.take()

    def end(self) -> None:
        self._ended.set()
        self._thread.join()

    def serves(self) -> float:
        """The scale of what it serves."""
        policy = self.slot.serving
        return (
            float(policy.infer(np.array(OBSERVATION, np.float32), np.zeros((1, 0, 0, 0), np.float32))[0, 0]) / 0.25
        )


class Asked:
    """A swapper; its child proves everything."""

    def __init__(self, loop: Loop, folder: Path) -> None:
        self.loop, self._folder, self.counters = loop, folder, Counters(SERVER)
        self._swapper = Swapper(loop.slot, "cpu", None, self.counters, FakeClock())

    def swap(self, data: bytes) -> str:
        path = self._folder / "next.onnx"
        path.write_bytes(data)
        with path.open("rb") as file:
            return self._swapper.answer(["swap", str(path)], [file.fileno()])

    def answer(self, words: list[str], *descriptors: int) -> str:
        return self._swapper.answer(words, descriptors)


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Asked]:
    monkeypatch.setattr("odeploy_runtime.hot_swap.swapper.prove", lambda *_: None)
    loop = Loop()
    yield Asked(loop, tmp_path)
    loop.end()


def test_a_swap_serves_the_file_and_says_so_with_its_whole_fingerprint(asked: Asked, logged: list[str]) -> None:
    line = asked.swap(scaled_bytes(0.25))
    assert line.startswith("serving epoch 2, scale-0.25, fingerprint ")
    assert parse(Path("x"), scaled_bytes(0.25)).fingerprint in line
    assert logged == [line]
    assert asked.loop.serves() == 0.25
    assert asked.counters["swaps:swapped"] == 1


def test_a_rollback_serves_the_one_before_and_another_the_one_after(asked: Asked) -> None:
    asked.swap(scaled_bytes(0.25))
    served = []
    for _ in range(3):
        asked.answer(["rollback"])
        served.append((asked.loop.slot.epoch, asked.loop.serves()))
    assert served == [(3, 0.5), (4, 0.25), (5, 0.5)]
    assert asked.counters["swaps:rolled_back"] == 3


def test_what_is_refused_changes_nothing_and_is_counted_and_logged(
    asked: Asked, monkeypatch: pytest.MonkeyPatch, logged: list[str]
) -> None:
    with pytest.raises(ContractError, match=r"rate_hz: expected 100\.0"):
        asked.swap(scaled_bytes(0.25, rate_hz=50.0))
    with pytest.raises(MissingError, match="served before this one, got none"):
        asked.answer(["rollback"])

    def no(*_: object) -> None:
        raise RelayedError("a child's no")

    monkeypatch.setattr("odeploy_runtime.hot_swap.swapper.prove", no)
    with pytest.raises(RelayedError, match="a child's no"):
        asked.swap(scaled_bytes(0.25))
    assert (asked.loop.slot.epoch, asked.loop.serves()) == (1, 0.5)
    assert asked.counters["swaps:refused"] == len(logged) == 3
    assert all(line.startswith("refused, epoch 1, scale-0.5, fingerprint ") for line in logged)


@pytest.mark.parametrize("words", [[], ["stop"], ["swap"], ["swap", "x"], ["rollback", "x"], ["shadow", "x"]])
def test_what_is_no_request_is_refused(asked: Asked, words: list[str]) -> None:
    with pytest.raises(UsageError, match="expected swap, rollback or shadow"):
        asked.answer(words)


def test_what_is_no_file_is_refused(asked: Asked) -> None:
    reader, writer = os.pipe()
    with pytest.raises(UsageError, match="expected a file of at most 1,073,741,824 bytes, got something else"):
        asked.answer(["swap", "pipe"], reader)
    os.close(reader)
    os.close(writer)


def test_loading_shares_the_interpreter_and_gives_back_what_it_changed(
    asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, during = sys.getswitchinterval(), list[float]()

    def load(*_: object) -> OnnxPolicy:
        during.append(sys.getswitchinterval())
        raise MissingError(where="here", expected="a policy", got="none", remedy="look")

    monkeypatch.setattr("odeploy_runtime.hot_swap.swapper.load_policy", load)
    with pytest.raises(MissingError):
        asked.swap(scaled_bytes(0.25))
    assert during == [pytest.approx(0.0002)]
    assert sys.getswitchinterval() == before


def test_ending_a_shadow_where_there_is_none_says_so(asked: Asked) -> None:
    assert asked.answer(["shadow"]) == "there was no shadow"
