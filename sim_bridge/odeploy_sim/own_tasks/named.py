"""The task that a file names: from the catalogue, or by the user's reference.

Files store a task's name and digest, never a reference: code is loaded only if a command line names it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from odeploy_runtime.errors import ContractError, MissingError
from odeploy_runtime.policy_file.manifest import Manifest
from odeploy_runtime.signals import Signal
from odeploy_runtime.trace.format import TraceHeader
from odeploy_sim.catalogue import get, has
from odeploy_sim.own_tasks import registry
from odeploy_sim.own_tasks.reference import resolve
from odeploy_sim.tasks.task import Task


@dataclass(frozen=True)
class StoredTask:
    """What a file stores of its task.

    Attributes:
        where: the file, for messages.
        name: name of the task.
        digest: its digest; empty in older files.
        observation: signals of the observation; None in files without.
        action: signals of the action; None in files without.
        rate_hz: the task's control rate; None in files without.
    """

    where: str
    name: str
    digest: str = ""
    observation: tuple[Signal, ...] | None = None
    action: tuple[Signal, ...] | None = None
    rate_hz: float | None = None


def of_trace(where: str, header: TraceHeader) -> StoredTask:
    """Return what a trace stores of its task."""
    return StoredTask(
        where, header.task, header.task_digest, header.observation, header.action, header.task_rate_hz
    )


def of_policy(where: str, manifest: Manifest) -> StoredTask:
    """Return what a policy file stores of its task."""
    raw = manifest.observation if manifest.recipe is None else manifest.recipe.raw
    return StoredTask(where, manifest.task, manifest.task_digest or "", raw, manifest.action, manifest.rate_hz)


def named(stored: StoredTask, reference: str | Task | None, option: str = "--task") -> Task:
    """Return the task that a file names.

    Args:
        stored: what the file stores.
        reference: the task, or the value of the option; None for a catalogued task.
        option: option of the command line that takes a reference, for messages.

    Raises:
        MissingError: a task that is not catalogued, and no reference.
        ContractError: the reference is another task, or its signals, rate or horizon have changed.
    """
    if reference is None:
        task = _catalogued(stored, option)
    else:
        task = resolve(reference)
        if task.name != stored.name:
            raise ContractError(
                where=f"{option} {task.argument if isinstance(reference, Task) else reference}",
                expected=f"the task {stored.name}, which {stored.where} names",
                got=f"the task {task.name}",
                remedy="give the reference of that task",
            )
    require_same(stored, task)
    return task


def among(stored: StoredTask, references: Sequence[str]) -> Task:
    """Return the task that one of several files names.

    References may belong to the other files.

    Raises:
        MissingError, ContractError: see `named`.
    """
    tasks = {task.name: task for task in map(resolve, references)}
    task = tasks.get(stored.name) or _catalogued(stored)
    require_same(stored, task)
    return task


def require_same(stored: StoredTask, task: Task) -> None:
    """Check that a task is what it was when the file was written.

    Raises:
        ContractError: the digests differ; names the first signal that differs, if the file holds signals.
    """
    if stored.digest in ("", task.digest):
        return
    place, expected, got = _difference(stored, task)
    raise ContractError(
        where=f"{stored.where}, task {task.name}{place}",
        expected=f"{expected}, as in the file",
        got=got,
        remedy="give the task as it was, or make the file again",
    )


def _catalogued(stored: StoredTask, option: str = "--task") -> Task:
    """Return a catalogued task, or one that this program registered itself."""
    registered = registry.registered(stored.name)
    if registered is not None:
        return registered
    if not has(stored.name):
        raise MissingError(
            where=stored.where,
            expected=f"a reference of its task {stored.name}, which is not catalogued",
            got="none",
            remedy=f"add {option}: file.py:NAME, file.toml, gym:ID or module:NAME",
        )
    return get(stored.name)


def _difference(stored: StoredTask, task: Task) -> tuple[str, str, str]:
    """Return where a task differs from a file, and what both have there."""
    for side in ("observation", "action"):
        of_file, of_task = getattr(stored, side), getattr(task, side)
        if of_file is None:
            return "", f"signals, limits, rate and horizon with digest {stored.digest}", f"digest {task.digest}"
        for index in range(max(len(of_file), len(of_task))):
            one, other = (signals[index] if index < len(signals) else None for signals in (of_file, of_task))
            if one != other:
                return f", {side}[{index}]", _text(one), _text(other)
    if stored.rate_hz is not None and stored.rate_hz != task.rate_hz:
        return ", rate_hz", f"{stored.rate_hz:g} Hz", f"{task.rate_hz:g} Hz"
    return ", horizon", "another number of ticks", f"{task.horizon} ticks"


def _text(signal: Signal | None) -> str:
    if signal is None:
        return "no signal"
    low, high = ("none" if limit is None else f"{limit:g}" for limit in (signal.low, signal.high))
    step = "" if signal.max_step is None else f", max_step {signal.max_step:g}"
    return f"{signal.name} [{signal.unit}] from {low} to {high}{step}"
