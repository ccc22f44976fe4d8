"""Requests of an operator: each is carried out, or refused with the old policy in service."""

import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from odeploy_runtime.errors import ContractError, MissingError, OdeployError, RelayedError, UsageError
from odeploy_runtime.hot_swap.proving import Proof
from odeploy_runtime.hot_swap.slot import PolicySlot
from odeploy_runtime.hot_swap.swapper import Swapper
from odeploy_runtime.inference.onnx_policy import OnnxPolicy
from odeploy_runtime.policy_file.file import parse
from odeploy_runtime.realtime.counters import SERVER, Counters
from odeploy_runtime.testing import FakeClock
from tests.unit.runtime.scaled_policy import OBSERVATION, scaled_bytes


class Loop:
    """Double of the server: a thread that takes offered policies."""

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
        """Return the scale of the served policy."""
        policy = self.slot.serving
        return (
            float(policy.infer(np.array(OBSERVATION, np.float32), np.zeros((1, 0, 0, 0), np.float32))[0, 0]) / 0.25
        )


class Requests:
    """Swapper whose child accepts every file."""

    def __init__(self, loop: Loop, folder: Path) -> None:
        self.loop, self._folder, self.counters = loop, folder, Counters(SERVER)
        self._swapper = Swapper(loop.slot, "cpu", None, self.counters, FakeClock())

    def swap(self, data: bytes, *allowed: str) -> str:
        path = self._folder / "next.onnx"
        path.write_bytes(data)
        with path.open("rb") as file:
            return self._swapper.answer(["swap", str(path), *allowed], [file.fileno()])

    def close(self) -> None:
        self._swapper.close()

    def answer(self, words: list[str], *descriptors: int) -> str:
        return self._swapper.answer(words, descriptors)


@pytest.fixture
def requests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Requests]:
    monkeypatch.setattr("odeploy_runtime.hot_swap.swapper.prove", lambda *_: None)
    loop = Loop()
    made = Requests(loop, tmp_path)
    yield made
    made.close()
    loop.end()


def test_a_swap_serves_the_file_and_logs_its_whole_fingerprint(requests: Requests, logged: list[str]) -> None:
    line = requests.swap(scaled_bytes(0.25))
    assert line.startswith("serving epoch 2, scale-0.25, fingerprint ")
    assert parse(Path("x"), scaled_bytes(0.25)).fingerprint in line
    assert logged == [line]
    assert requests.loop.serves() == 0.25
    assert requests.counters["swaps:swapped"] == 1


def test_a_rollback_serves_the_previous_policy_and_a_second_one_reverts_it(requests: Requests) -> None:
    requests.swap(scaled_bytes(0.25))
    served = []
    for _ in range(3):
        requests.answer(["rollback"])
        served.append((requests.loop.slot.epoch, requests.loop.serves()))
    assert served == [(3, 0.5), (4, 0.25), (5, 0.5)]
    assert requests.counters["swaps:rolled_back"] == 3


def test_a_refused_request_changes_nothing_and_is_counted_and_logged(
    requests: Requests, monkeypatch: pytest.MonkeyPatch, logged: list[str]
) -> None:
    with pytest.raises(ContractError, match=r"rate_hz: expected 100\.0"):
        requests.swap(scaled_bytes(0.25, rate_hz=50.0))
    with pytest.raises(MissingError, match="served before this one, got none"):
        requests.answer(["rollback"])

    def refuse(*_: object) -> None:
        raise RelayedError("a child's refusal")

    monkeypatch.setattr("odeploy_runtime.hot_swap.swapper.prove", refuse)
    with pytest.raises(RelayedError, match="a child's refusal"):
        requests.swap(scaled_bytes(0.25))
    assert (requests.loop.slot.epoch, requests.loop.serves()) == (1, 0.5)
    assert requests.counters["swaps:refused"] == len(logged) == 3
    assert all(line.startswith("refused, epoch 1, scale-0.5, fingerprint ") for line in logged)


@pytest.mark.parametrize("words", ["", "stop", "swap", "swap x", "rollback x", "shadow x", "abort x"])
def test_an_unknown_request_is_refused(requests: Requests, words: str) -> None:
    with pytest.raises(UsageError, match="expected swap, rollback, abort or shadow"):
        requests.answer(words.split())


def test_a_pipe_instead_of_a_file_is_refused(requests: Requests) -> None:
    reader, writer = os.pipe()
    with pytest.raises(UsageError, match="expected a policy file, got a pipe instead of a file"):
        requests.answer(["swap", "pipe"], reader)
    os.close(reader)
    os.close(writer)


def test_loading_shortens_the_switch_interval_and_restores_it(
    requests: Requests, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, during = sys.getswitchinterval(), list[float]()

    def load(*_: object) -> OnnxPolicy:
        during.append(sys.getswitchinterval())
        raise MissingError(where="here", expected="a policy", got="none", remedy="look")

    monkeypatch.setattr("odeploy_runtime.hot_swap.swapper.load_policy", load)
    with pytest.raises(MissingError):
        requests.swap(scaled_bytes(0.25))
    assert during == [pytest.approx(0.0002)]
    assert sys.getswitchinterval() == before


def test_ending_an_absent_shadow_is_reported(requests: Requests) -> None:
    assert requests.answer(["shadow"]) == "there was no shadow"


# ---- while a swap is being proved


class Hanging:
    """Swaps in threads, with proofs that go on until they are ended.

    Attributes:
        errors: what ended them.
    """

    def __init__(self, requests: Requests, monkeypatch: pytest.MonkeyPatch) -> None:
        self._requests, self._begun, self.errors = requests, threading.Event(), list[OdeployError]()
        monkeypatch.setattr("odeploy_runtime.hot_swap.swapper.prove", self._prove)
        self._threads = list[threading.Thread]()
        self.swap()
        self._begun.wait()

    def swap(self) -> None:
        self._threads.append(threading.Thread(target=self._swap))
        self._threads[-1].start()

    @property
    def goes_on(self) -> bool:
        return any(thread.is_alive() for thread in self._threads)

    def reason(self) -> str:
        """Wait for the swaps; return why the first ended."""
        for thread in self._threads:
            thread.join()
        assert len(self.errors) == len(self._threads)
        return str(self.errors[0])

    def _prove(self, _data: bytes, where: str, _provider: str, _signers: Path | None, proof: Proof) -> None:
        self._begun.set()
        while proof.ended_by is None:
            time.sleep(0.001)
        proof.require_wanted(where)

    def _swap(self) -> None:
        try:
            self._requests.swap(scaled_bytes(0.125))
        except OdeployError as error:
            self.errors.append(error)


def test_a_rollback_ends_the_swap_under_way_and_serves_the_previous_policy(
    requests: Requests, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests.swap(scaled_bytes(0.25))
    hanging = Hanging(requests, monkeypatch)
    assert requests.answer(["rollback"]).endswith(" again; swaps under way ended: 1")
    assert requests.loop.serves() == 0.5
    assert "got its end by a rollback" in hanging.reason()
    assert (requests.loop.slot.epoch, requests.loop.serves()) == (3, 0.5)


def test_an_abort_ends_the_swap_under_way_alone(requests: Requests, monkeypatch: pytest.MonkeyPatch) -> None:
    requests.swap(scaled_bytes(0.25))
    hanging = Hanging(requests, monkeypatch)
    line = requests.answer(["abort"])
    assert line.startswith("swaps under way ended: 1; serving epoch 2, scale-0.25, ")
    assert "got its end by swap --abort" in hanging.reason()
    assert (requests.loop.slot.epoch, requests.loop.serves()) == (2, 0.25)
    assert requests.answer(["abort"]).startswith("swaps under way ended: none; ")


def test_a_swap_that_waits_behind_another_one_is_ended_too(
    requests: Requests, monkeypatch: pytest.MonkeyPatch
) -> None:
    hanging = Hanging(requests, monkeypatch)
    hanging.swap()
    while hanging.goes_on:
        requests.answer(["abort"])
    assert "got its end by swap --abort" in hanging.reason()
    assert requests.loop.slot.epoch == 1


def test_a_rollback_without_a_previous_policy_ends_the_swap_under_way_too(
    requests: Requests, monkeypatch: pytest.MonkeyPatch
) -> None:
    hanging = Hanging(requests, monkeypatch)
    with pytest.raises(MissingError, match="got none since the server's start, swaps under way ended: 1;"):
        requests.answer(["rollback"])
    assert "got its end by a rollback" in hanging.reason()


def test_the_servers_end_ends_the_swap_under_way(requests: Requests, monkeypatch: pytest.MonkeyPatch) -> None:
    hanging = Hanging(requests, monkeypatch)
    requests.close()
    assert "got its end by the server's end" in hanging.reason()


def test_differences_are_refused_unless_the_request_allows_them(requests: Requests) -> None:
    other = scaled_bytes(0.25, action_semantics="velocity")
    with pytest.raises(ContractError, match="action_semantics: expected force"):
        requests.swap(other, "limits")
    with pytest.raises(UsageError, match="--allow: expected some of units,limits"):
        requests.swap(other, "everything")
    requests.swap(other, "limits", "semantics")
    assert requests.loop.serves() == 0.25
