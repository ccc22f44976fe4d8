"""bench.json: each row is flat, in the format's order, and read back unchanged."""

import json
from pathlib import Path

import pytest

from odeploy_runtime.errors import FormatError
from odeploy_runtime.reports.bench_results import read_results, write_results
from tests.unit.runtime.bench import FLOORS, results, row

KEYS = """
policy method sampler noise file fingerprint provider trace obtained steal_s wall_s
mode lost_rows rate_hz speed score invalid_episodes safe_episodes ticks_due applied held held_by_cause skipped
misses longest_miss_run clamped inference_us round_trip_us round_trip_p50_interval_us lateness_us
due_to_applied_us age_us apply_jitter_us stages_p50_us transport
"""


@pytest.mark.parametrize("ratio", [1.25, None])
def test_results_are_read_back_unchanged(tmp_path: Path, ratio: float | None) -> None:
    written = results(row(floors=FLOORS, round_trip_to_floors=ratio), row())
    write_results(written, tmp_path / "bench.json")
    assert read_results(tmp_path / "bench.json") == written


def test_the_keys_have_the_order_of_the_format_and_lower_bounds_only_where_measured(tmp_path: Path) -> None:
    write_results(results(row(floors=FLOORS), row()), tmp_path / "bench.json")
    read = json.loads((tmp_path / "bench.json").read_text())
    assert list(read) == ["task", "machine", "noise_level", "pre_touch", "execute", "ahead", "blend", "rows"]
    without_floors = KEYS.split()
    with_floors = [*without_floors, "floors", "round_trip_to_floors"]
    assert [list(each) for each in read["rows"]] == [with_floors, without_floors]
    assert list(read["rows"][0]["score"]) == ["scored_by", "value", "low", "high", "episodes"]


@pytest.mark.parametrize("text", [None, "", "{", "[]", "{}", '{"rows": []}'])
def test_a_file_without_bench_results_is_refused_by_name(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "bench.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(FormatError, match="expected the results of `odeploy bench`") as raised:
        read_results(path)
    assert raised.value.where.startswith(str(path))


def test_results_without_a_row_are_refused(tmp_path: Path) -> None:
    write_results(results(), tmp_path / "bench.json")
    with pytest.raises(FormatError, match="got no rows"):
        read_results(tmp_path / "bench.json")
