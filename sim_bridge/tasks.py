"""`odeploy tasks [TASK]`: the catalogue as a table, or one task's signals."""

from dataclasses import dataclass
from typing import Annotated

import tyro
from rich.console import Console
from rich.table import Table

from runtime.inspect import signal_table
from sim_bridge.catalogue import TASKS, get


@dataclass(frozen=True)
class Config:
    """Lists the catalogued tasks, or one task's signals."""

    task: Annotated[str | None, tyro.conf.Positional] = None
    """Name of a task; nothing lists them all."""


def main(arguments: list[str]) -> None:
    """Prints the catalogue or one task."""
    config, console = tyro.cli(Config, args=arguments, prog="odeploy tasks"), Console()
    if config.task is None:
        table = Table("task", "O → A", "rate Hz", "horizon", "scored by", title="tasks")
        for task in TASKS.values():
            sizes = f"{len(task.observation)} → {len(task.action)}"
            table.add_row(task.name, sizes, f"{task.rate_hz:g}", str(task.horizon), task.scored_by)
        console.print(table)
        for task in TASKS.values():
            console.print(f"[bold]{task.name}[/bold]: {task.summary} ({task.gym_id})", highlight=False)
        return
    task = get(config.task)
    console.print(f"[bold]{task.name}[/bold]: {task.summary} ({task.gym_id}, {task.rate_hz:g} Hz)")
    console.print(signal_table("observation", task.observation))
    console.print(signal_table("action", task.action))
    console.print(f"safe action: {list(task.safe_action)}; scored by: {task.scored_by}")
