"""Checks of a file's signals against the task's: names, units, limits, rate."""

from collections.abc import Sequence

from odeploy_runtime.errors import ContractError
from odeploy_runtime.policy_file.manifest import Manifest
from odeploy_runtime.signals import Signal, require_same_names
from odeploy_sim.doctor.findings import Finding, Severity, some
from odeploy_sim.own_tasks.signals_of_spaces import is_made_up
from odeploy_sim.tasks.task import Task

_CHECK = "signals"


def check_fit(manifest: Manifest, task: Task) -> list[Finding]:
    """Find where the manifest differs from the task."""
    findings = []
    for what, of_file, of_task in (
        ("observation", manifest.raw, task.observation),
        ("action", manifest.action, task.action),
    ):
        findings += _check_signals(what, of_file, of_task, task.name)
    made_up = [name for name in (*manifest.raw_names, *manifest.action_names) if is_made_up(name)]
    if made_up:
        seen = "names that only tell a place: another order of the robot's signals would not be noticed"
        remedy = "name them in a task file: odeploy tasks new REF --out my.toml"
        findings.append(Finding("warning", _CHECK, some(made_up), seen, remedy))
    if manifest.task != task.name:
        seen = f"the file was trained for {manifest.task}"
        findings.append(Finding("warning", _CHECK, "file", seen, f"give --task {manifest.task}, or ignore this"))
    if abs(manifest.rate_hz - task.rate_hz) > 1e-6 * task.rate_hz:
        seen = f"trained for {manifest.rate_hz:g} Hz, the task runs at {task.rate_hz:g} Hz"
        findings.append(Finding("error", "rate", "file", seen, "train and export for the task's rate"))
    return findings


def _check_signals(
    what: str, of_file: Sequence[Signal], of_task: Sequence[Signal], task_name: str
) -> list[Finding]:
    try:
        require_same_names([s.name for s in of_file], [s.name for s in of_task], what)
    except ContractError as error:
        seen = f"the file has {error.expected}, {task_name} has {error.got}"
        return [Finding("error", _CHECK, error.where, seen, error.remedy)]
    findings = []
    for in_file, in_task in zip(of_file, of_task, strict=True):
        where = f"{what} {in_file.name}"
        if in_file.unit != in_task.unit:
            seen = f"in {in_file.unit} in the file, in {in_task.unit} in {task_name}"
            findings.append(Finding("error", _CHECK, where, seen, "export anew with the task's units"))
        if (in_file.low, in_file.high) != (in_task.low, in_task.high):
            seen = f"limits {_limits(in_file)} in the file, {_limits(in_task)} in {task_name}"
            severity: Severity = "error" if what == "action" and not _within(in_file, in_task) else "warning"
            remedy = "export for the task as it is catalogued now"
            findings.append(Finding(severity, _CHECK, where, seen, remedy))
    return findings


def _limits(signal: Signal) -> str:
    low, high = ("none" if limit is None else f"{limit:g}" for limit in (signal.low, signal.high))
    return f"[{low}, {high}]"


def _within(in_file: Signal, in_task: Signal) -> bool:
    low = in_task.low is None or (in_file.low is not None and in_file.low >= in_task.low)
    return low and (in_task.high is None or (in_file.high is not None and in_file.high <= in_task.high))
