"""How a command line names a task.

| reference | task |
| --- | --- |
| `hopper`, `kitchen:kettle` | catalogued |
| `my_task.py:TASK` | a `Task` in a Python file |
| `my_package.tasks:TASK` | a `Task` in an installed package |
| `gym:Reacher-v5`, `gym:my_package:MyEnv-v0` | a gymnasium environment; the package is imported first |
| `my_task.toml` | a file as `odeploy tasks new` writes it |
| `my-arm` | registered by an installed package under the entry point `odeploy.tasks` |
"""

import re
from pathlib import Path

from odeploy_runtime.errors import MissingError
from odeploy_sim.catalogue import get as catalogued
from odeploy_sim.catalogue import has
from odeploy_sim.own_tasks import gym_task, python_task, registry, toml_task
from odeploy_sim.own_tasks.registry import require_own_name
from odeploy_sim.tasks.task import Task

_IN_FILE = re.compile(r"(.+\.py)(?::(\w+))?")
_IN_MODULE = re.compile(r"([A-Za-z_][\w.]*):(\w+)")


def resolve(reference: str | Task) -> Task:
    """Return the task that a command line names; a `Task` is returned as it is.

    Relative paths are made absolute in `Task.reference`, so that a child process in any folder finds it.

    Raises:
        MissingError: no such task, file, module or environment.
        UsageError: code of the user's that raises, or is no task.
        ContractError: facts of the task that contradict each other.
    """
    if isinstance(reference, Task):
        return reference
    if has(reference):
        return catalogued(reference)
    task = _own(reference)
    require_own_name(task, reference)
    return task


def _own(reference: str) -> Task:
    if reference.startswith("gym:"):
        return gym_task.task(reference)
    if reference.endswith(".toml"):
        return toml_task.task(Path(reference))
    if match := _IN_FILE.fullmatch(reference):
        return python_task.from_file(Path(match[1]), match[2])
    if match := _IN_MODULE.fullmatch(reference):
        return python_task.from_module(match[1], match[2])
    if (task := registry.find(reference)) is not None:
        return task
    try:
        return catalogued(reference)  # which offers the nearest names
    except MissingError as error:
        raise MissingError(
            where=error.where,
            expected=f"{error.expected}, file.py:TASK, file.toml, gym:ID-v0 or module:TASK",
            got=error.got,
            remedy=error.remedy,
        ) from None
