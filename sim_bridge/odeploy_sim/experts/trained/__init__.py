"""Trained experts: the policy files that travel with the package, `NAME.onnx` for the task of that name.

They are ordinary policy files: `odeploy inspect` says how each was trained, `odeploy verify` proves it.
"""

from pathlib import Path

from odeploy_sim.tasks.task import Task


def trained(task: Task, folder: Path = Path(__file__).parent) -> Path | None:
    """The policy file of a task's trained expert; None where there is none."""
    path = folder / f"{task.name}.onnx"
    return path if path.is_file() else None
