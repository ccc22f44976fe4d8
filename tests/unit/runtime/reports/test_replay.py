"""Replay: the same file gives the same actions; the first differing tick and signal are named."""

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from odeploy_runtime.errors import ContractError
from odeploy_runtime.inference.noise import NoiseSource
from odeploy_runtime.policy_file.manifest import Noise
from odeploy_runtime.reports.replay import Replay, replay, require_same
from odeploy_runtime.signals import half_ranges
from odeploy_runtime.trace.format import APPLIED, HELD, SKIPPED, STAMPS, Trace
from tests.unit.runtime import traces
from tests.unit.runtime.fakes import FakePolicy, manifest

MS = 1_000_000
TICKS = 20


def driven(mode: str = "realtime", seed: int = 5, policy: FakePolicy | None = None) -> Trace:
    """Return two episodes of ten ticks; in a stream each tick applies the action of the previous one."""
    policy = policy or FakePolicy()
    rows = traces.rows(*({"episode": i // 10, "tick": i % 10, "kind": APPLIED, "epoch": 1} for i in range(TICKS)))
    rows["observation"] = np.random.default_rng(0).normal(size=rows["observation"].shape)
    sent = rows["stamps"][:, STAMPS.index("sent")]
    sent[:] = 10 * MS * np.arange(TICKS) + 7
    rows["stamps"][:, STAMPS.index("applied")] = sent + MS
    rows["offered"] = np.nan
    noise, behind = NoiseSource(policy.manifest.noise, seed), int(mode == "stream")
    for i, row in enumerate(rows):
        if row["tick"] < behind:
            row["kind"] = HELD
            continue
        observed = rows[i - behind]
        drawn = noise.draw(int(observed["episode"]), int(observed["tick"]))
        if row["tick"] == 0:
            policy.reset()
        row["offered"] = policy.infer(observed["observation"], drawn)[0]
        row["age_ns"] = MS + behind * 10 * MS
    return Trace(traces.header(mode=mode, seed=seed), rows)


def bent(trace: Trace, change: Callable[[NDArray[np.void]], None]) -> Trace:
    rows = trace.rows.copy()
    change(rows)
    return dataclasses.replace(trace, rows=rows)


@pytest.mark.parametrize(("mode", "compared"), [("lockstep", 20), ("realtime", 20), ("stream", 18)])
def test_the_same_policy_gives_the_same_actions_from_the_same_noise(mode: str, compared: int) -> None:
    trace = driven(mode)
    replayed = replay(trace, FakePolicy())
    assert len(replayed.rows) == compared
    np.testing.assert_array_equal(replayed.recomputed, replayed.rows["offered"])
    assert (replayed.skipped, replayed.unanswered, replayed.orphans) == (0, 20 - compared, 0)
    assert require_same(replayed, FakePolicy(), 0.0, "t", "fake") == "the same actions, bit for bit (fake)"


@pytest.mark.parametrize(
    ("provider", "sentence"),
    [
        ("fake", "within 0.001: largest difference 0.0002 on unit scale (fake)"),
        ("", "within 0.001: largest difference 0.0002 on unit scale (fake)"),
        (
            "native",
            "within 0.001, another provider: largest difference 0.0002 on unit scale "
            "(native in the run, fake now)",
        ),
    ],
)
def test_actions_within_the_tolerance_are_the_same_and_another_provider_is_named(
    provider: str, sentence: str
) -> None:
    replayed = replay(driven(), FakePolicy())
    scale = half_ranges(FakePolicy().manifest.action)
    replayed.rows["offered"] = replayed.recomputed
    replayed.recomputed[3, 1] += np.float32(2e-4 * scale[1])
    same = require_same(replayed, FakePolicy(), 1e-3, "t", provider)
    assert same == f"the same actions {sentence}"


def test_another_seed_gives_other_actions() -> None:
    trace = driven(seed=5)
    other = dataclasses.replace(trace, header=traces.header(seed=6))
    with pytest.raises(ContractError, match="episode 0, tick 0"):
        require_same(replay(other, FakePolicy()), FakePolicy(), 1e-5, "t")


def test_a_planted_wrong_tick_is_named_with_its_signal_and_both_values() -> None:
    def plant(rows: NDArray[np.void]) -> None:
        rows["offered"][13, 1] += 0.5
        rows["offered"][17, 0] += 0.25

    trace = driven()
    right = float(trace.rows["offered"][13, 1])
    with pytest.raises(ContractError) as raised:
        require_same(replay(bent(trace, plant), FakePolicy()), FakePolicy(), 1e-5, "run.trace")
    error = raised.value
    assert error.where == "run.trace, episode 1, tick 3, signal motor_y"
    assert float(error.expected.split()[0]) == pytest.approx(right + 0.5)
    assert float(error.got.split(";")[0]) == pytest.approx(right)
    assert "; 2 of 20 ticks differ by more than 1e-05 on unit scale, by at most 0.5" in error.got


def test_a_difference_is_measured_on_unit_scale_and_compared_with_the_tolerance() -> None:
    wide = manifest(action=tuple(dataclasses.replace(s, low=-50.0, high=50.0) for s in traces.ACTION))
    trace = bent(driven(), lambda rows: rows["offered"].__setitem__((4, 0), rows["offered"][4, 0] + 5.0))
    replayed = replay(trace, FakePolicy(wide))
    assert "0.1 on unit scale" in require_same(replayed, FakePolicy(wide), 0.11, "t")
    with pytest.raises(ContractError, match="tick 4, signal motor_x"):
        require_same(replayed, FakePolicy(wide), 0.09, "t")


def test_a_recomputed_nan_is_a_difference() -> None:
    trace, policy = driven(), FakePolicy()
    policy.answer = np.array([[0.0, np.nan]], np.float32)
    with pytest.raises(ContractError, match="20 of 20 ticks differ"):
        require_same(replay(trace, policy), policy, 10.0, "t")


def test_skipped_held_and_orphaned_ticks_are_counted_and_not_compared() -> None:
    def thin(rows: NDArray[np.void]) -> None:
        rows["kind"][3], rows["offered"][3] = SKIPPED, 0
        rows["kind"][[4, 5]], rows["offered"][[4, 5]] = HELD, np.nan
        rows["age_ns"][6] += 1

    replayed = replay(bent(driven(), thin), FakePolicy())
    assert (len(replayed.rows), replayed.skipped, replayed.unanswered, replayed.orphans) == (16, 1, 2, 1)
    np.testing.assert_array_equal(replayed.recomputed, replayed.rows["offered"])


def test_the_first_action_of_a_truncated_stream_is_an_orphan() -> None:
    trace = driven("stream")
    replayed = replay(dataclasses.replace(trace, rows=trace.rows[5:]), FakePolicy())
    assert (len(replayed.rows), replayed.orphans) == (13, 1)


def test_the_offered_action_is_compared_and_not_the_clamped_one() -> None:
    trace = bent(driven(), lambda rows: rows["action"].fill(0.125))
    assert require_same(replay(trace, FakePolicy()), FakePolicy(), 0.0, "t")


def test_a_difference_after_a_swap_names_the_policies() -> None:
    def exchange(rows: NDArray[np.void]) -> None:
        rows["epoch"][10:] = 2
        rows["offered"][10:] += 1

    with pytest.raises(ContractError, match=r"of policies 1, 2 of that server"):
        require_same(replay(bent(driven(), exchange), FakePolicy()), FakePolicy(), 1e-5, "t")


class Counting(FakePolicy):
    """Recurrent policy that adds the number of the episode's observations so far."""

    def __init__(self) -> None:
        super().__init__(manifest(kind="recurrent", noise=Noise("none"), sampler=None, state_size=1, golden=()))

    def infer(self, observation: NDArray[np.float32], noise: NDArray[np.float32]) -> NDArray[np.float32]:
        self.state += 1
        return (observation[:2] + self.state).reshape(1, 2)


def test_a_recurrent_policys_state_is_updated_at_ticks_with_a_late_answer_too() -> None:
    trace = driven(policy=Counting())

    def late(rows: NDArray[np.void]) -> None:
        rows["kind"][4], rows["offered"][4], rows["epoch"][4] = HELD, np.nan, 0

    replayed = replay(bent(trace, late), Counting())
    assert len(replayed.rows) == 19
    np.testing.assert_array_equal(replayed.recomputed, replayed.rows["offered"])


class Chunked(FakePolicy):
    """Policy with actions for the current tick and the next two."""

    def __init__(self) -> None:
        super().__init__(manifest(horizon=3, golden=()))

    def infer(self, observation: NDArray[np.float32], noise: NDArray[np.float32]) -> NDArray[np.float32]:
        return super().infer(observation, noise) + np.arange(3, dtype=np.float32)[:, None]


def test_the_chunks_action_for_the_tick_is_compared() -> None:
    sent = STAMPS.index("sent")

    def every_third_requests(rows: NDArray[np.void]) -> None:
        for i, row in enumerate(rows):
            late = int(row["tick"]) % 3
            row["offered"] = rows[i - late]["offered"] + late if late else row["offered"]
            row["age_ns"] = MS + late * 10 * MS
            row["stamps"][sent] = 0 if late else row["stamps"][sent]

    replayed = replay(bent(driven(), every_third_requests), Chunked())
    assert len(replayed.rows) == TICKS
    np.testing.assert_array_equal(replayed.recomputed, replayed.rows["offered"])


def test_nothing_to_compare_is_an_error() -> None:
    nothing = Replay(driven().rows[:0], np.zeros((0, 2), np.float32), 0, 0, 0)
    with pytest.raises(ContractError, match="expected ticks with an observation"):
        require_same(nothing, FakePolicy(), 1.0, "t")
