"""`odeploy tasks [TASK]`: the catalogue as a table, or everything about one task."""

from dataclasses import dataclass
from typing import Annotated

import tyro
from rich.table import Table
from rich.text import Text

from odeploy_runtime.printable import printable
from odeploy_runtime.reports.tables import signal_table, wide
from odeploy_runtime.reports.terminal import Terminal
from odeploy_sim.catalogue import TASKS, get
from odeploy_sim.experts import EXPERTS
from odeploy_sim.experts.trained import trained
from odeploy_sim.tasks.task import Task


@dataclass(frozen=True)
class Config:
    """List the catalogued tasks, or one task's signals."""

    task: Annotated[str | None, tyro.conf.Positional] = None
    """Name of a task; default: list all tasks."""


def main(arguments: list[str]) -> None:
    """Print the catalogue or one task."""
    config, console = tyro.cli(Config, args=arguments, prog="odeploy tasks"), Terminal()
    if config.task is None:
        table = Table("task", "paper", "O → A", "Hz", "horizon", "scored by", "expert", title="tasks")
        for task in TASKS.values():
            sizes = f"{len(task.observation)} → {len(task.action)}"
            row = task.name, task.paper, sizes, f"{task.rate_hz:g}", str(task.horizon), task.scored_by
            table.add_row(*row, expert_of(task))
        wide(console).print(table)
        return
    task = get(config.task)
    console.print(Text.assemble((printable(task.name), "bold"), printable(f": {task.summary}")))
    console.print(signal_table("observation", task.observation))
    console.print(signal_table("action", task.action))
    facts = Table("fact", "", title="task")
    for name, value in facts_of(task).items():
        facts.add_row(name, value)
    console.print(facts)


def expert_of(task: Task) -> str:
    """Return `scripted`, `trained`, or a dash for a task without an expert."""
    return "scripted" if task.name in EXPERTS else "trained" if trained(task) else "–"


def facts_of(task: Task) -> dict[str, str]:
    """Return the properties of a task besides its signals, as text by name."""
    step = "none" if task.physics_step_s is None else f"{task.physics_step_s * 1e3:g} ms"
    levels = "none" if task.noise is None else f"0 to {task.noise.highest:g}, 1 as catalogued: {task.noise.scales}"
    return {
        "environment": task.gym_id if task.entry_point is None else f"{task.gym_id} ({task.entry_point})",
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
