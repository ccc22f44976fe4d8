"""`odeploy tasks`: the known tasks, one task's facts, or a file of one to edit.

odeploy tasks                                   # all tasks
odeploy tasks hopper                            # one
odeploy tasks new gym:Reacher-v5 --out my.toml  # a file to edit
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.table import Table
from rich.text import Text

from odeploy_runtime.atomic_file import write_whole
from odeploy_runtime.errors import UsageError
from odeploy_runtime.printable import printable
from odeploy_runtime.reports.tables import signal_table, wide
from odeploy_runtime.reports.terminal import Terminal
from odeploy_sim.catalogue import TASKS
from odeploy_sim.experts import EXPERTS
from odeploy_sim.experts.trained import trained
from odeploy_sim.own_tasks import gym_task, toml_task
from odeploy_sim.own_tasks.reference import resolve
from odeploy_sim.own_tasks.registry import installed
from odeploy_sim.tasks.task import Task


@dataclass(frozen=True)
class Config:
    """List the known tasks, or one task's signals."""

    task: Annotated[str | None, tyro.conf.Positional] = None
    """Task: a catalogued name, file.py:NAME, file.toml, gym:ID or module:NAME. Default: list all tasks."""


@dataclass(frozen=True)
class NewConfig:
    """Write a task as a file to edit."""

    task: Annotated[str, tyro.conf.Positional]
    """Task to begin with, such as gym:Reacher-v5."""
    out: Path
    """Task file to write (.toml)."""
    rate_hz: float | None = None
    """Control rate [Hz], for an environment that states none."""
    horizon: int | None = None
    """Length of an episode [ticks], for an environment that states none."""
    name: str | None = None
    """Name of the task; default: that of the environment."""


def main(arguments: list[str]) -> None:
    """Print the tasks, or one of them."""
    config, console = tyro.cli(Config, args=arguments, prog="odeploy tasks"), Terminal()
    if config.task is None:
        table = Table("task", "paper", "O → A", "Hz", "horizon", "scored by", "expert", title="tasks")
        for task in (TASKS | installed()).values():
            sizes = f"{len(task.observation)} → {len(task.action)}"
            row = task.name, task.paper, sizes, f"{task.rate_hz:g}", str(task.horizon), task.scored_by
            table.add_row(*row, expert_of(task))
        wide(console).print(table)
        return
    task = resolve(config.task)
    console.print(Text.assemble((printable(task.name), "bold"), f": {printable(task.summary)}"), highlight=False)
    console.print(signal_table("observation", task.observation))
    console.print(signal_table("action", task.action))
    facts = Table("fact", "", title="task")
    for name, value in facts_of(task).items():
        facts.add_row(name, value)
    console.print(facts)


def main_new(arguments: list[str]) -> None:
    """Write the task file; never over another file.

    Raises:
        UsageError: the file exists, or the task has no gymnasium environment.
    """
    config = tyro.cli(NewConfig, args=arguments, prog="odeploy tasks new")
    if config.out.exists():
        raise UsageError(
            where=f"--out {config.out}", expected="a new file", got="one that exists", remedy="choose another name"
        )
    if not config.task.startswith("gym:"):
        raise UsageError(
            where=config.task,
            expected="a gymnasium environment: gym:ID or gym:PACKAGE:ID",
            got="another task",
            remedy="edit that task where it is defined",
        )
    facts = {"rate_hz": config.rate_hz, "horizon": config.horizon, "name": config.name}
    task = gym_task.task(config.task, **{name: value for name, value in facts.items() if value is not None})
    write_whole(config.out, toml_task.text(task, config.task.removeprefix("gym:")).encode())
    Terminal().print(f"task: {config.out}", soft_wrap=True)


def expert_of(task: Task) -> str:
    """Return `scripted`, `trained`, or a dash for a task without an expert."""
    return "scripted" if task.name in EXPERTS else "trained" if trained(task) else "–"


def facts_of(task: Task) -> dict[str, str]:
    """Return the properties of a task besides its signals, as text by name."""
    step = "none" if task.physics_step_s is None else f"{task.physics_step_s * 1e3:g} ms"
    levels = "none" if task.noise is None else f"0 to {task.noise.highest:g}, 1 as catalogued: {task.noise.scales}"
    return {
        "environment": environment_of(task),
        "control rate": f"{task.rate_hz:g} Hz, {1e3 / task.rate_hz:g} ms a tick",
        "physics step": step,
        "horizon": f"{task.horizon} ticks, {task.horizon / task.rate_hz:g} s",
        "scored by": task.scored_by,
        "safe action": ", ".join(f"{a:g}" for a in task.safe_action),
        "noise levels": levels,
        "camera": task.camera or "the environment's own view",
        "paper": task.paper,
        "ours": task.differs,
        "expert": expert_of(task),
    }


def environment_of(task: Task) -> str:
    """Return where the task's environment comes from."""
    if task.reference is not None:
        return task.reference
    return task.gym_id if task.entry_point is None else f"{task.gym_id} ({task.entry_point})"
