"""Trained experts: policy files in the package, `NAME.onnx` for that task.

They are ordinary policy files: `odeploy inspect` prints how each was trained, `odeploy verify` checks it.
"""

from pathlib import Path

from odeploy_sim.tasks.task import Task


def trained(task: Task, folder: Path = Path(__file__).parent) -> Path | None:
    """Return the policy file of a task's trained expert; None for a task without one."""
    path = folder / f"{task.name}.onnx"
    return path if path.is_file() else None
