"""The best policy file of each method and task, kept with a card.

A sweep deletes nothing, but its folder is large and of one machine. The files kept here are small enough to be
committed, and each card states how to make the file again.
"""

import json
import re
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from odeploy_runtime.atomic_file import write_whole
from odeploy_train.sweeps.results import Line, newest, version
from odeploy_train.sweeps.spec import arguments

MOST_BYTES = 1_000_000


def keep(measured: Iterable[Line], files: Path, folder: Path) -> list[Path]:
    """Copy each method's best file on each task, unless it is there.

    Return what was copied.

    Args:
        measured: lines of results.
        files: folder of the exported files, named by their lines' keys.
        folder: folder to keep them in.
    """
    best: dict[tuple[str, str], Line] = {}
    seeds: dict[tuple[str, str], int] = {}
    for line in newest(measured):
        row = line["task"], line["method"]
        seeds[row] = seeds.get(row, 0) + 1
        if row not in best or _score(line)["value"] > _score(best[row])["value"]:
            best[row] = line
    copied = []
    for row, line in best.items():
        source, card = files / f"{line['key']}.onnx", card_of(line, seeds[row])
        kept = folder / f"{file_name(*row)}.onnx"
        text = json.dumps(card, indent=1, ensure_ascii=False) + "\n"
        there = kept.with_suffix(".json").read_text() if kept.with_suffix(".json").exists() else None
        if there == text or not source.exists() or source.stat().st_size > MOST_BYTES:
            continue
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, kept)
        write_whole(kept.with_suffix(".json"), text.encode())
        copied.append(kept)
    return copied


def file_name(task: str, method: str) -> str:
    """Return the name of a kept file, without its suffix.

    It has lower case letters, digits and hyphens.
    """
    return re.sub(r"[^a-z0-9]+", "-", f"{task} {method}".lower().replace("+", " plus ")).strip("-")


def card_of(line: Line, seeds: int) -> dict[str, Any]:
    """Return the card of a file, ready for JSON.

    Args:
        line: its line in the results.
        seeds: number of seeds of which it is the best.
    """
    score = _score(line)
    train = ["odeploy train", line["verb"], "--task", line["task"], "--seed", str(line["seed"])]
    train += ["--demos DEMOS"] if line["demos"] is not None else []
    train += ["--init INIT"] if line.get("init") is not None else []
    collect = ["odeploy collect", line["task"], *arguments(line["demos"] or {}), "--out DEMOS"]
    return {
        "task": line["task"],
        "method": line["method"],
        "seed": line["seed"],
        "best_of_seeds": seeds,
        "policy": line["options"].get("keep", "last"),
        "scored_by": line["scored_by"],
        "score": {name: score[name] for name in ("value", "low", "high", "episodes")},
        "noise_level": next(iter(line["scores"])),
        "fingerprint": score["fingerprint"],
        "commands": [
            *([" ".join(collect)] if line["demos"] is not None else []),
            " ".join([*train, *arguments(line["options"]), "--out RUN"]),
            " ".join(["odeploy export", "RUN", *arguments(line["export"]), "--out FILE.onnx"]),
        ],
        "version": version(line),
        "key": line["key"],
        "git": line["git"],
        "versions": line["versions"],
        "machine": line["machine"],
    }


def _score(line: Line) -> dict[str, Any]:
    """Return the score at the first noise level; on the same episodes for all seeds."""
    score: dict[str, Any] = next(iter(line["scores"].values()))
    return score
