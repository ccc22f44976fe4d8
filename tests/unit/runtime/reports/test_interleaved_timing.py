"""Timed calls take turns, and the first call of each turn is not timed."""

from odeploy_runtime.reports.interleaved_timing import interleaved


def test_calls_take_turns_and_only_hot_ones_are_timed() -> None:
    made: list[str] = []
    calls = {name: lambda name=name: made.append(name) for name in ("a", "b")}
    durations = interleaved(calls, rounds=2, each=3, after_round=lambda: made.append("|"))
    assert "".join(made) == "aaaabbbb|aaaabbbb|"
    assert {name: len(times) for name, times in durations.items()} == {"a": 6, "b": 6}
    assert all((times >= 0).all() for times in durations.values())
