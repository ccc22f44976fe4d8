"""docs/reference/tasks.md from catalogue and measured scores: `python -m docs.generate.tasks_page`."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from odeploy_runtime.atomic_file import write_whole
from odeploy_runtime.policy_file.file import read
from odeploy_runtime.signals import Signal
from odeploy_sim.catalogue import TASKS, get
from odeploy_sim.cli.tasks import expert_of, facts_of
from odeploy_sim.experts import EXPERTS
from odeploy_sim.experts.trained import trained
from odeploy_sim.tasks.task import Task

ROOT = Path(__file__).resolve().parents[2]
PAGE, SCORES = ROOT / "docs" / "reference" / "tasks.md", ROOT / "results" / "experts.json"

_INTRODUCTION = """\
# Tasks

Written by `python -m docs.generate.tasks_page` from the catalogue (`sim_bridge/catalogue/`) and from the scores in
`results/experts.json`; a test keeps it current. `odeploy tasks TASK` prints one task in the terminal.

The score is that of the task's expert over as many episodes as stand beside it, in lockstep, with its 95 %
interval (Wilson's for a success share, bootstrap for a return), measured by the command in the last column. A
task without an expert says –; it has no stub. A trained expert is an ordinary policy file,
`sim_bridge/trained/TASK.onnx`; `odeploy inspect` prints seed and steps that made it, and
`odeploy train expert --task TASK` repeats it.
"""


def page(scores: Mapping[str, Any]) -> str:
    """The whole page.

    Args:
        scores: what `odeploy score` wrote: task -> its figures.
    """
    lines = [_INTRODUCTION]
    lines += _table(
        ("task", "paper", "O → A", "Hz", "horizon", "expert", "score", "episodes", "command"),
        [_row(get(name), scores.get(name)) for name in (*TASKS, *(n for n in EXPERTS if n not in TASKS))],
    )
    lines += ["", "## Trained experts", ""]
    lines += _table(
        ("file", "how", "steps", "seed", "fingerprint", "made by"),
        [_origin(task, path) for task in TASKS.values() if (path := trained(task))],
    )
    for task in TASKS.values():
        lines += ["", f"## {task.name}", "", f"{_sentence(task.summary)}", ""]
        lines += _table(("fact", ""), [(k, _cell(v)) for k, v in facts_of(task).items()])
        for title, signals in (("Observation", task.observation), ("Action", task.action)):
            lines += ["", f"<details><summary>{title}: {len(signals)} signals</summary>", ""]
            lines += _table(("#", "signal", "unit", "min", "max"), [_signal(i, s) for i, s in enumerate(signals)])
            lines += ["", "</details>"]
    return "\n".join(lines) + "\n"


def _row(task: Task, score: Mapping[str, Any] | None) -> tuple[str, ...]:
    sizes = f"{len(task.observation)} → {len(task.action)}"
    section = task.name.partition(":")[0]
    first = f"[{task.name}](#{section})", task.paper, sizes, f"{task.rate_hz:g}", str(task.horizon)
    if score is None:
        return (*first, expert_of(task), "–", "–", "–")
    digits = 2 if score["scored_by"] == "success" else 1
    value, low, high = (f"{score[k]:.{digits}f}" for k in ("value", "low", "high"))
    figures = f"{score['scored_by']} {value} [{low}, {high}]", str(score["episodes"]), f"`{score['command']}`"
    return (*first, expert_of(task), *figures)


def _origin(task: Task, path: Path) -> tuple[str, ...]:
    file = read(path)
    made = file.manifest.provenance
    run = f"runs/experts/{task.name}"
    train = f"`odeploy train expert --task {task.name} --seed {made['seed']} --out {run}`"
    export = f"`odeploy export --from sb3 {run}/best.zip --task {task.name} --out {path.relative_to(ROOT)}`"
    facts = file.manifest.method, f"{made['steps']:,}", str(made["seed"]), f"`{file.fingerprint[:12]}`"
    return path.name, *facts, f"{train}, {export}"


def _signal(i: int, s: Signal) -> tuple[str, ...]:
    return str(i), f"`{s.name}`", s.unit, *("" if v is None else f"{v:g}" for v in (s.low, s.high))


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows)]


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def main() -> None:
    """Writes the page."""
    scores = json.loads(SCORES.read_text())["tasks"] if SCORES.is_file() else {}
    write_whole(PAGE, page(scores).encode())


if __name__ == "__main__":
    main()
