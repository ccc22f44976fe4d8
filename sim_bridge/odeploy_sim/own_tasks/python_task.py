"""Tasks in a user's Python file or package."""

import hashlib
import importlib
import importlib.util
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import gymnasium
from gymnasium.envs.registration import load_env_creator

from odeploy_runtime.errors import MissingError, OdeployError, UsageError, first_line
from odeploy_sim.tasks.task import Task


@dataclass(frozen=True)
class EnvOf:
    """The environment of a task in Python code, made in whichever process calls it.

    It travels to child processes as the text of its reference; the task's own callable could not.

    Attributes:
        reference: absolute reference of the task.
    """

    reference: str

    def __call__(self, **arguments: Any) -> "gymnasium.Env[Any, Any]":
        """Load the task, and make its environment."""
        place, _, name = self.reference.rpartition(":")
        task = _load(self.reference, place, name)
        if task.make is not None:
            return task.make(**arguments)
        if task.entry_point is not None:
            made: gymnasium.Env[Any, Any] = load_env_creator(task.entry_point)(**arguments)  # type: ignore[assignment]
            return made
        gymnasium.register_envs(importlib.import_module(task.package))
        env: gymnasium.Env[Any, Any] = gymnasium.make(task.gym_id, disable_env_checker=True, **arguments)
        return env


def from_file(path: Path, name: str | None) -> Task:
    """Return the task `name` of a Python file, by its path.

    Raises:
        MissingError: no such file or attribute.
        UsageError: the file raises, or the attribute is no `Task`.
    """
    if not path.is_file():
        raise MissingError(
            where=str(path), expected="a Python file", got="no such file", remedy="correct the path"
        )
    place = str(path.resolve())
    if name is None:
        found = [key for key, value in vars(_file(place)).items() if isinstance(value, Task)]
        raise UsageError(
            where=str(path),
            expected="FILE.py:NAME",
            got="no name",
            remedy=f"name one of {', '.join(found)}" if found else "define a Task there, such as TASK = Task(…)",
        )
    return _referenced(f"{place}:{name}", place, name)


def from_module(place: str, name: str) -> Task:
    """Return the task `name` of an installed module.

    Raises:
        MissingError: no such module or attribute.
        UsageError: the module raises, or the attribute is no `Task`.
    """
    return _referenced(f"{place}:{name}", place, name)


def loaded(where: str, load: Callable[[], Any], expected: str = "code that imports") -> Any:
    """Return what code of the user's returns.

    Args:
        where: how the user named the code, for messages.
        load: runs it.
        expected: what would have been right, for messages.

    Raises:
        UsageError: it raised; the message names the line.
    """
    try:
        return load()
    except OdeployError:
        raise
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        inside = [f for f in frames if "importlib" not in f.filename and f.filename != __file__] or frames
        line = error.lineno if isinstance(error, SyntaxError) else inside[-1].lineno
        place = error.filename if isinstance(error, SyntaxError) else inside[-1].filename
        raise UsageError(
            where=f"{where} at {place}:{line}",
            expected=expected,
            got=f"{type(error).__name__}: {first_line(error)}",
            remedy="correct that line",
        ) from error


def _referenced(reference: str, place: str, name: str) -> Task:
    """Return the task with its reference; its environment is made by that reference."""
    task = _load(reference, place, name)
    make = EnvOf(reference) if task.simulated else None
    return replace(task, make=make, entry_point=None, gym_id="", reference=reference)


def _load(reference: str, place: str, name: str) -> Task:
    code = _file(place) if place.endswith(".py") else module(reference, place)
    value = getattr(code, name, None)
    if value is None:
        found = [key for key, other in vars(code).items() if isinstance(other, Task)]
        raise MissingError(
            where=reference,
            expected=f"a Task: {', '.join(found)}" if found else "a Task",
            got=f"no {name}",
            remedy="correct the name after the colon",
        )
    if not isinstance(value, Task):
        raise UsageError(
            where=reference,
            expected="a Task",
            got=type(value).__name__,
            remedy="see odeploy.Task; for a gymnasium environment use gym:module:ID-v0",
        )
    return value


def module(where: str, name: str) -> ModuleType:
    """Import an installed module.

    Raises:
        MissingError: no such module.
        UsageError: it raises.
    """
    try:
        found = importlib.util.find_spec(name) is not None
    except (ModuleNotFoundError, ValueError):  # of a parent package
        found = False
    if not found:
        raise MissingError(
            where=where,
            expected=f"an installed module {name}",
            got="none of that name",
            remedy="install its package, or name a file: file.py:TASK",
        )
    imported: ModuleType = loaded(where, lambda: importlib.import_module(name))
    return imported


def _file(place: str) -> ModuleType:
    """Import a Python file by its absolute path, once."""
    name = f"odeploy_own_{hashlib.sha256(place.encode()).hexdigest()[:16]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, place)
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    folder = str(Path(place).parent)
    if folder not in sys.path:
        sys.path.append(folder)  # last: a file of the user's beside it never hides an installed package
    sys.modules[name] = made
    try:
        loaded(place, lambda: spec.loader.exec_module(made))  # type: ignore[union-attr]
    except BaseException:
        del sys.modules[name]
        raise
    return made
