import json
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

from odeploy_runtime.errors import MissingError
from odeploy_train.sweeps import plots as sweep_plots
from odeploy_train.sweeps.plots import draw
from odeploy_train.sweeps.table import main, markdown, notes, of_methods, read, table

ROOT = Path(__file__).parents[4]


def score_of(value: float) -> dict[str, float]:
    return {"value": value, "low": value - 0.25, "high": value + 0.125}


def line(method: str, seed: int, score: float, **more: Any) -> dict[str, Any]:
    return {
        "key": f"{method}{seed}", "method": method, "verb": "bc", "task": "maze-medium", "seed": seed,
        "episodes": 50, "scored_by": "success", "train_s": 60.0 * (seed + 1), "scores": {"1": score_of(score)},
        "curve": {"steps": [1000, 2000], "scores": [score / 2, score], "wall_s": [30.0, 60.0]},
    } | more  # fmt: skip


NO_CURVE: dict[str, Any] = {"curve": {"steps": [], "scores": [], "wall_s": []}}
MEASURED = [
    *(line("FM-IRL", seed, score) for seed, score in enumerate((0.6, 0.7, 1.0))),
    *(line("FP", seed, 0.5, **NO_CURVE) for seed in range(3)),
]


def test_a_table_has_a_column_for_each_noise_level_and_marks_missing_runs() -> None:
    noisy = [line("FM-IRL", 0, 0.9, scores={"1": score_of(0.9), "2": score_of(0.4)}), *MEASURED[3:]]
    header, cells = table("maze-medium", noisy)
    assert header[1:3] == ["success [95 %], level 1", "success [95 %], level 2"]
    assert cells[0][1:3] == ["0.90 [0.65, 1.02]", "0.40 [0.15, 0.53]"]  # one seed: over its episodes
    assert cells[1][2] == "not run"


def test_a_count_of_subtasks_has_decimals_and_a_large_return_has_none() -> None:
    few, many = (line("SAC", 0, value, task=task) for value, task in ((1.25, "kitchen"), (1250.25, "hopper")))
    assert table("kitchen", [few])[1][0][1] == "1.25 [1.00, 1.38]"
    assert table("hopper", [many])[1][0][1] == "1250 [1250, 1250]"


def test_the_last_third_of_learning_has_a_column_with_an_interval_over_seeds() -> None:
    curve = {"steps": [1, 2, 3, 4], "scores": [0.9, 0.9, 0.2, 0.4], "wall_s": [10.0, 60.0, 70.0, 90.0]}
    seeds = [line("FM-IRL", seed, 0.5, curve=curve) for seed in range(3)]
    for measured, cell in ((seeds, "0.30 [0.30, 0.30]"), (seeds[:1], "0.30"), (MEASURED[3:], "–")):
        header, cells = table("maze-medium", measured, late=True)
        at = header.index("in the last third [95 %]")
        assert cells[0][at] == cell
    assert "in the last third [95 %]" not in table("maze-medium", seeds)[0]


def test_the_best_on_the_way_is_marked_unless_it_was_scored_again() -> None:
    kept = [line("FMER", seed, 0.5, options={"keep": "best"}) for seed in range(3)]
    both = [{**run, "last": {"1": score_of(0.25)}} for run in kept]
    for measured, last, best in (
        (MEASURED[:3], "0.77 [0.60, 1.00]", "0.77 ‡ [0.60, 1.00]"),
        (MEASURED[:1], "0.60 [0.35, 0.72]", "0.60 ‡"),
        (both, "0.25 [0.25, 0.25]", "0.50 [0.50, 0.50]"),
        (MEASURED[:3] + kept, "0.77 [0.60, 1.00]", "0.77 ‡ [0.60, 1.00]"),
    ):
        header, cells = table("maze-medium", measured)
        assert header[1:3] == ["success [95 %]", "best [95 %]"]
        assert cells[0][1:3] == [last, best]
        assert notes("maze-medium", measured) == [
            note for note in ["‡ Highest score during training, not scored again."] if "‡" in best
        ]
    header, cells = table("maze-medium", kept)  # the last policies' files were not scored
    assert (header[1], cells[0][1]) == ("best [95 %]", "0.50 [0.50, 0.50]")
    assert table("maze-medium", MEASURED[:3] + kept)[1][1][1:3] == ["not run", "0.50 [0.50, 0.50]"]
    assert "best [95 %]" not in table("maze-medium", MEASURED[3:])[0]


def test_rows_of_before_a_correction_are_marked_and_others_are_not() -> None:
    older, newer = (line("FM-IRL", 0, 0.5, verb="fm-irl", **more) for more in ({}, {"version": 2}))
    assert table("maze-medium", [older])[1][0][0] == "FM-IRL †"
    assert notes("maze-medium", [older])[0] == "† Trained before a correction: version 1."
    assert table("maze-medium", [newer])[1][0][0] == "FM-IRL"
    assert "† Trained" in markdown("maze-medium", [older, line("FP", 0, 0.5)])
    assert "†" not in markdown("maze-medium", [newer, line("FP", 0, 0.5)])


def test_markdown_rows_have_equal_numbers_of_cells() -> None:
    text = markdown("maze-medium", MEASURED)
    body = [row for row in text.splitlines() if row.startswith("|")]
    assert len(body) == 2 + 2
    assert len({row.count("|") for row in body}) == 1


def test_the_last_line_of_a_repeated_run_counts_and_a_truncated_line_does_not(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    kept = [line("FP", 0, 0.1), line("FP", 0, 0.9), line("FP", 1, 0.2)]
    path.write_text("\n".join(json.dumps(k) for k in kept) + '\n{"key": "cut o')
    assert [k["scores"]["1"]["value"] for k in read([path])] == [0.9, 0.2]


@pytest.mark.parametrize("text", [None, ""])
def test_missing_or_empty_results_are_refused(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "results.jsonl"
    if text is not None:
        path.write_text(text)
    with pytest.raises(MissingError, match="odeploy sweep"):
        read([path])


def test_methods_are_selected_by_name_and_an_unknown_one_is_refused_with_the_known_names() -> None:
    assert of_methods(MEASURED, ()) == MEASURED
    assert {k["method"] for k in of_methods(MEASURED, ["FP"])} == {"FP"}
    with pytest.raises(MissingError, match="--methods: expected one of 'FM-IRL', 'FP', got GAIL"):
        of_methods(MEASURED, ["FP", "GAIL"])


def test_with_noise_levels_the_picture_has_one_more_panel(tmp_path: Path) -> None:
    draw(MEASURED, tmp_path / "two.png")
    draw(
        [line("FP", 0, 0.5, scores={n: {"value": 0.5, "low": 0.4, "high": 0.6} for n in "12"})],
        tmp_path / "three.png",
    )
    widths = [int.from_bytes((tmp_path / name).read_bytes()[16:20], "big") for name in ("two.png", "three.png")]
    assert widths[1] * 2 == widths[0] * 3


def test_many_long_names_stay_within_the_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Figure] = []
    monkeypatch.setattr(sweep_plots, "write_png", lambda figure, *_path, **_form: seen.append(figure))
    draw([line(f"{i} candidates, 20 solver steps", 0, 0.5) for i in range(9)], tmp_path / "many.png")
    (figure,) = seen
    figure.draw_without_rendering()
    extent = figure.legends[0].get_window_extent()
    assert 0 <= extent.x0 < extent.x1 <= figure.bbox.width


def test_the_verb_prints_every_method(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "results.jsonl"
    path.write_text("\n".join(json.dumps(k) for k in MEASURED))
    main([str(path), "--markdown"])
    out = capsys.readouterr().out
    assert "| FM-IRL | 0.77 [0.60, 1.00] | 0.77 ‡ [0.60, 1.00] | 3 | 2 k / 1.0 | – | 2.0 | 0.873 |" in out


@pytest.mark.parametrize("levels", [1, 2])
def test_a_printed_table_has_at_most_a_hundred_columns_and_no_cell_is_cut(
    levels: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "results.jsonl"
    scores = {f"{level}": score_of(0.5) for level in range(1, levels + 1)}
    path.write_text("\n".join(json.dumps(run | {"scores": scores}) for run in MEASURED))
    main([str(path)])
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 100
    assert "…" not in out
    assert out.count("[0.50, 0.50]") == 2 * levels


@pytest.mark.parametrize("results", sorted(ROOT.glob("results/*.jsonl")), ids=lambda path: path.stem)
def test_the_results_page_contains_every_measured_table(results: Path) -> None:
    page, measured = (ROOT / "docs/results.md").read_text(), read([results])
    for task in dict.fromkeys(k["task"] for k in measured):
        of_task = [k for k in measured if k["task"] == task]
        made = [markdown(task, of_task, late=late).strip().partition("\n\n")[2] for late in (False, True)]
        assert any(rows in page for rows in made), f"odeploy table results/{results.name} [--late] --markdown"
