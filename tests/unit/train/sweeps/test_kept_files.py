import json
from pathlib import Path
from typing import Any

import pytest

from odeploy_train.sweeps.kept_files import MOST_BYTES, file_name, keep


def line(seed: int, value: float, **more: Any) -> dict[str, Any]:
    score = {"value": value, "low": value - 1, "high": value + 1, "episodes": 50, "fingerprint": f"f{seed}"}
    return {
        "key": f"k{seed}", "task": "hopper", "method": "FPO++", "verb": "fpo++", "seed": seed, "demos": None,
        "options": {"steps": 5, "keep": "best"}, "export": {"noise": "zero"}, "scored_by": "return", "version": 2,
        "scores": {"1": score}, "git": "g", "versions": {"torch": "2"}, "machine": "m",
    } | more  # fmt: skip


def files(folder: Path, *seeds: int, size: int = 1) -> Path:
    for seed in seeds:
        (folder / f"k{seed}.onnx").write_bytes(bytes([seed]) * size)
    return folder


def test_the_file_of_the_best_seed_is_kept_with_a_card(tmp_path: Path) -> None:
    measured = [line(0, 5.0), line(1, 7.0), line(2, 6.0), line(3, 99.0, version=1)]
    (kept,) = keep(measured, files(tmp_path, 0, 1, 2, 3), tmp_path / "zoo")
    assert kept == tmp_path / "zoo/hopper-fpo-plus-plus.onnx"
    assert kept.read_bytes() == bytes([1])
    card = json.loads(kept.with_suffix(".json").read_text())
    assert (card["seed"], card["best_of_seeds"], card["policy"], card["fingerprint"]) == (1, 3, "best", "f1")
    assert card["score"] == {"value": 7.0, "low": 6.0, "high": 8.0, "episodes": 50}
    assert card["commands"] == [
        "odeploy train fpo++ --task hopper --seed 1 --steps 5 --keep best --out RUN",
        "odeploy export RUN --noise zero --out FILE.onnx",
    ]


def test_what_is_kept_is_replaced_by_a_better_file_alone(tmp_path: Path) -> None:
    folder = tmp_path / "zoo"
    assert len(keep([line(0, 5.0)], files(tmp_path, 0), folder)) == 1
    assert keep([line(0, 5.0)], tmp_path, folder) == []
    (kept,) = keep([line(0, 5.0), line(1, 6.0)], files(tmp_path, 0, 1), folder)
    assert kept.read_bytes() == bytes([1])


def test_a_large_or_missing_file_is_not_kept(tmp_path: Path) -> None:
    assert keep([line(0, 5.0)], tmp_path, tmp_path / "zoo") == []
    assert keep([line(0, 5.0)], files(tmp_path, 0, size=MOST_BYTES + 1), tmp_path / "zoo") == []


def test_demonstrations_are_the_first_command_of_a_card(tmp_path: Path) -> None:
    (kept,) = keep([line(0, 5.0, demos={"episodes": 25})], files(tmp_path, 0), tmp_path / "zoo")
    commands = json.loads(kept.with_suffix(".json").read_text())["commands"]
    assert commands[0] == "odeploy collect hopper --episodes 25 --out DEMOS"
    assert "--demos DEMOS" in commands[1]


@pytest.mark.parametrize(
    ("method", "name"), [("FP, then FPO", "t-fp-then-fpo"), ("Euler × 10", "t-euler-10"), ("FPO", "t-fpo")]
)
def test_names_have_no_other_characters_than_letters_digits_and_hyphens(method: str, name: str) -> None:
    assert file_name("t", method) == name
