"""Tables of a search: a list for one training, grids for several; the fastest good setting is marked."""

from pathlib import Path
from typing import Any

import pytest

from odeploy_export.samplers.results import Measured, read
from odeploy_export.samplers.settings import NoiseMode
from odeploy_export.samplers.tables import tables, trainings_of

ROOT = Path(__file__).parents[4]
NOISES: tuple[NoiseMode, ...] = ("zero", "normal")


def line(value: float, p50: float, steps: int = 1, noise: NoiseMode = "zero", **changed: Any) -> Measured:
    options = {"solver": "euler", "solver_steps": 10, "lr": 3e-4, "seed": changed.get("seed", 0)}
    fields: dict[str, Any] = {
        "key": "k", "task": "hopper", "run": "r", "method": "fpo", "seed": 0, "weights_hash": "w",
        "solver": "euler", "candidates": 1, "evaluations": steps, "scored_by": "return", "low": value - 1,
        "high": value + 1, "std": 1.0, "return_mean": value, "episodes": 50, "invalid": 0, "noise_level": 1.0,
        "score_seed": 1, "fingerprint": "f", "machine": "m", "git": None,
    }  # fmt: skip
    given = options | changed.pop("options", {})
    fields |= {"value": value, "steps": steps, "noise": noise, "inference_us": {"p50": p50, "p99": 2 * p50}}
    return Measured(**fields | {"options": given} | changed)


def test_the_fastest_setting_within_a_share_of_the_best_is_chosen() -> None:
    measured = [line(2000, 20), line(2460, 40, steps=5), line(2450, 30, steps=2), line(2500, 80, steps=10)]
    (table,) = tables(measured, within=0.02)
    assert table.title == "hopper, return over 50 episodes, fpo, euler × 10"
    assert table.rows[2] == ["zero", "euler × 2", "2", "2450 [2449, 2451] ←", "30", "60", "1.5"]
    assert [row[3][-1] for row in table.rows] == ["]", "≈", "←", "≈"]
    (strict,) = tables(measured, within=0.0)
    assert [row[3][-1] for row in strict.rows] == ["]", "]", "]", "←"]


def test_a_negative_best_score_has_its_share_below_it() -> None:
    (table,) = tables([line(-101, 20), line(-100, 40, steps=5), line(-103, 10, steps=2)], within=0.02)
    assert [row[3][-1] for row in table.rows] == ["←", "≈", "]"]


def test_trainings_are_the_rows_of_a_grid_and_settings_its_columns() -> None:
    measured = [
        line(100 * k + deployed, 10.0 * deployed, deployed, noise, options={"solver_steps": k})
        for k in (15, 30)
        for noise in NOISES
        for deployed in (2, 5)
    ]
    zero, normal, choices = tables(measured, within=0.02)
    assert zero.header == normal.header == ["trained with", "euler × 2", "euler × 5"]
    assert zero.rows == [
        ["fpo, euler × 15", "1502 ←", "1505 ≈"],
        ["fpo, euler × 30", "3002 ←", "3005 ≈"],
        ["evaluations", "2", "5"],
        ["p50, median", "20", "50"],
    ]
    assert "normal noise" in normal.title
    assert choices.rows[1][:4] == ["fpo, euler × 30", "1", "3005 [3004, 3006]", "euler × 5, zero"]
    assert choices.rows[1][4:] == ["euler × 2, zero", "3002 [3001, 3003]", "20", "40"]
    assert "| fpo, euler × 15 | 1502 ← | 1505 ≈ |" in zero.markdown()


def test_seeds_of_one_training_are_one_row() -> None:
    measured = [line(value, 20, seed=seed) for seed, value in enumerate((100.0, 200.0, 300.0))]
    assert list(trainings_of(measured)) == ["fpo, euler × 10"]
    (table,) = tables(measured, within=0.02)
    assert table.title.endswith("3 seeds")
    assert table.rows[0][3].startswith("200 [")


def test_names_of_trainings_contain_the_differing_options_of_training_only() -> None:
    measured = [line(1, 1, options={"lr": lr, "score_steps": i}) for i, lr in enumerate((1e-3, 1e-4))]
    measured.append(line(1, 1, method="dppo", options={"lr": 1.0}))
    assert list(trainings_of(measured)) == [
        "fpo, euler × 10, lr 0.001", "fpo, euler × 10, lr 0.0001", "dppo, euler × 10",
    ]  # fmt: skip


def test_each_task_has_its_own_table() -> None:
    made = tables([line(1, 1), line(0.5, 1, task="maze-medium", scored_by="success")], within=0.02)
    assert [table.title.split(",")[0] for table in made] == ["hopper", "maze-medium"]


@pytest.mark.parametrize("results", sorted(ROOT.glob("results/samplers/*.jsonl")), ids=lambda path: path.stem)
def test_the_results_page_contains_every_measured_table(results: Path) -> None:
    page = (ROOT / "docs/results.md").read_text()
    for table in tables(list(read(results).values()), within=0.02):
        rows = table.markdown().strip().split("\n\n")[-1]
        assert rows in page, f"odeploy samplers ... --out results/samplers/{results.name} --markdown"
