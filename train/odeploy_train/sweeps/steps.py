"""Steps of a sweep: `odeploy collect`, `train`, `export`, `score` as processes.

Every step is a command as a user would type it. Existing demonstrations are not recorded again, a training
continues from its last checkpoint, and the exported file is scored.
"""

import json
import re
from pathlib import Path
from typing import Any

from odeploy_runtime.errors import RelayedError
from odeploy_runtime.realtime.child_process import child, child_error, python_module
from odeploy_runtime.realtime.machine import machine_line
from odeploy_sim.own_tasks.reference import resolve
from odeploy_train.runs.checkpoint import LAST, load
from odeploy_train.runs.folder import read_card
from odeploy_train.runs.learning_curve import read as read_curve
from odeploy_train.runs.learning_curve import train_s
from odeploy_train.sweeps.locks import alone
from odeploy_train.sweeps.spec import RunSpec, arguments, demos_key

_END_S = 30.0  # a training that is ended writes a checkpoint


def collect(spec: RunSpec, options: dict[str, Any], folder: Path) -> Path:
    """Record the demonstrations of a run's task, unless they exist.

    Gives their folder.

    Raises:
        RelayedError: what `odeploy collect` refused, or died of.
    """
    folder.mkdir(parents=True, exist_ok=True)
    name = re.sub(r"[^-\w]", "_", f"{spec.task}-{demos_key(spec.task + spec.task_digest, options)}")
    out = folder / f"{name}-v0"
    with alone(out) as lock:
        if not out.exists():
            odeploy(
                ["collect", spec.argument, "--out", str(out), *arguments(options)], folder / f"{name}.log", lock
            )
    return out


def train(spec: RunSpec, folder: Path, demos: Path | None, init: Path | None) -> Path:
    """Train a run, or continue it, and return its folder.

    Raises:
        RelayedError: what `odeploy train` refused, or died of.
    """
    name = f"{spec.verb.replace(' ', '-')}-{spec.task}-seed-{spec.seed}-{spec.training}"
    folder.mkdir(parents=True, exist_ok=True)
    given = [*([] if demos is None else ["--demos", str(demos)]), *([] if init is None else ["--init", str(init)])]
    common = ["--task", spec.argument, "--out", str(folder / name), "--seed", str(spec.seed)]
    words = ["train", *spec.verb.split(), *common, *given, *arguments(spec.options)]
    with alone(folder / name) as lock:
        odeploy(words, folder / f"{name}.log", lock)
    return folder / name


def measure(spec: RunSpec, trained: Path, folder: Path) -> dict[str, Any]:
    """Export a training and score the file. Gives the line for the results.

    A run that keeps its best policy has that one's scores, and those of its last one under `last`.

    Raises:
        RelayedError: what `odeploy export` or `odeploy score` refused, or died of.
    """
    folder.mkdir(parents=True, exist_ok=True)
    card, task = read_card(trained), resolve(spec.argument)
    with alone(folder / spec.key) as lock:
        scores = _scores(spec, trained, folder / f"{spec.key}.onnx", lock)
        last = {}
        if spec.options.get("keep") == "best" and LAST in (load(trained) or {}):
            last = {LAST: _scores(spec, trained, folder / f"{spec.key}.last.onnx", lock, "--last")}
    return {
        "key": spec.key,
        **{name: value for name, value in vars(spec).items() if name != "reference"},
        **({} if spec.reference is None else {"thresholds": task.thresholds}),
        "version": spec.version,
        "data_hash": card.data_hash,
        "scored_by": task.scored_by,
        "scores": scores,
        **last,
        "curve": vars(read_curve(trained, task.scored_by)),
        "train_s": round(train_s(trained), 1),
        "git": card.git,
        "versions": card.versions,
        "machine": machine_line(),
    }


def odeploy(words: list[str], log: Path, lock: int) -> None:
    """Run a verb to its end, with its output in a file, and a descriptor of `alone`.

    Raises:
        RelayedError: the verb failed; has its last line.
    """
    with child(python_module("odeploy", *words), log, _END_S, [lock]) as process:
        status = process.wait()
    if status != 0:
        raise RelayedError(f"{child_error(log)} (all of it in {log})")


def _scores(spec: RunSpec, trained: Path, policy: Path, lock: int, *which: str) -> dict[str, Any]:
    """Export a policy of a training; return its scores by noise level."""
    log = policy.with_suffix(".log")
    task = [] if spec.reference is None else ["--task", spec.reference]
    odeploy(["export", str(trained), "--out", str(policy), *task, *which, *arguments(spec.export)], log, lock)
    return {f"{level:g}": _score(spec, policy, level, log, lock) for level in spec.noise}


def _score(spec: RunSpec, policy: Path, level: float, log: Path, lock: int) -> dict[str, Any]:
    kept = policy.with_suffix(f".{level:g}.json")
    kept.unlink(missing_ok=True)
    words = ["score", spec.argument, "--policy", str(policy), "--episodes", str(spec.episodes), "--out", str(kept)]
    odeploy([*words, "--noise", str(level)], log, lock)
    name = resolve(spec.argument).name  # a specification may order sub-tasks differently
    figures = json.loads(kept.read_text())["tasks"][name]
    wanted = ("value", "low", "high", "std", "return_mean", "episodes", "invalid", "fingerprint")
    return {key: figures[key] for key in wanted}
