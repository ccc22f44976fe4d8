"""The policy slot: each policy has its own epoch, and only compatible ones are accepted."""

import threading

import pytest

from odeploy_runtime.errors import UsageError, WorkerError
from odeploy_runtime.hot_swap.slot import PolicySlot
from tests.unit.runtime.fakes import FakePolicy


def offered(slot: PolicySlot, policy: FakePolicy) -> int:
    """Offer a policy from another thread while this one takes; return its epoch."""
    epochs: list[int] = []
    thread = threading.Thread(target=lambda: epochs.append(slot.offer(policy)))
    thread.start()
    while not slot.take():
        pass
    thread.join()
    return epochs[0]


def test_without_an_offer_the_same_policy_is_served() -> None:
    policy = FakePolicy()
    slot = PolicySlot(policy)
    assert not slot.take()
    assert (slot.serving, slot.previous, slot.epoch) == (policy, None, 1)


def test_an_offered_policy_is_served_after_the_next_take_and_the_previous_one_is_kept() -> None:
    first, second = FakePolicy(fingerprint="a"), FakePolicy(fingerprint="b")
    slot = PolicySlot(first)
    assert offered(slot, second) == 2
    assert (slot.serving, slot.previous) == (second, first)
    assert not slot.take()


def test_every_epoch_has_its_fingerprint_even_for_a_repeated_policy() -> None:
    first, second = FakePolicy(fingerprint="a"), FakePolicy(fingerprint="b")
    slot = PolicySlot(first)
    for policy in (second, first, second):
        offered(slot, policy)
    assert (slot.fingerprints, slot.epoch) == (["a", "b", "a", "b"], 4)


def test_an_offer_to_a_stopped_loop_is_an_error_and_is_withdrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("odeploy_runtime.hot_swap.slot._TAKEN_WITHIN_S", 0.01)
    slot = PolicySlot(FakePolicy())
    with pytest.raises(WorkerError, match="got a loop that does not turn"):
        slot.offer(FakePolicy())
    assert not slot.take()


def test_epochs_are_limited_to_the_traces_range(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("odeploy_runtime.hot_swap.slot._LAST_EPOCH", 2)
    slot = PolicySlot(FakePolicy())
    offered(slot, FakePolicy())
    with pytest.raises(UsageError, match="expected at most 2 policies since its start, got one more"):
        slot.offer(FakePolicy())


def test_attaching_a_shadow_returns_the_previous_one() -> None:
    slot, first, second = PolicySlot(FakePolicy()), object(), object()
    assert slot.attach(first) is None  # type: ignore[arg-type]
    assert slot.attach(second) is first  # type: ignore[arg-type]
    assert slot.shadow is second
    assert slot.attach(None) is second
    assert slot.shadow is None
