"""Tasks of installed packages, and tasks that a program registers itself."""

from importlib.metadata import EntryPoint, entry_points

from odeploy_runtime.errors import UsageError
from odeploy_sim.catalogue import has
from odeploy_sim.own_tasks.python_task import from_module, loaded
from odeploy_sim.tasks.task import Task

GROUP = "odeploy.tasks"
"""Entry-point group under which a package names its tasks: `my-arm = "my_package.tasks:TASK"`."""

_registered: dict[str, Task] = {}


def register(task: Task) -> None:
    """Make a task known to this process by its name.

    Raises:
        UsageError: the name is catalogued.
    """
    require_own_name(task, "register_task")
    _registered[task.name] = task


def require_own_name(task: Task, where: str) -> None:
    """Raise a UsageError if a task that is not catalogued has a catalogued name."""
    if has(task.name):
        raise UsageError(
            where=where,
            expected="a name of its own",
            got=f"{task.name}, which is catalogued",
            remedy="rename the task",
        )


def registered(name: str) -> Task | None:
    """Return the task of a name that this program registered itself; None without one."""
    return _registered.get(name)


def find(name: str) -> Task | None:
    """Return the registered task of a name; None if no package has it.

    Only the package that has the name is imported.

    Raises:
        UsageError: the package raises on import, or its task has another name.
    """
    if name in _registered:
        return _registered[name]
    entry = next((e for e in entry_points(group=GROUP) if e.name == name), None)
    return None if entry is None else _task(entry)


def installed() -> dict[str, Task]:
    """Return the tasks of all installed packages, by name."""
    return {entry.name: _task(entry) for entry in entry_points(group=GROUP)}


def _task(entry: EntryPoint) -> Task:
    module, _, attribute = entry.value.partition(":")
    task: Task = loaded(f"entry point {entry.name}", lambda: from_module(module, attribute))
    if task.name != entry.name:
        raise UsageError(
            where=f"entry point {entry.name} of {GROUP}",
            expected=f"a task named {entry.name}",
            got=task.name,
            remedy="give both the same name, in the package",
        )
    return task
