"""The record that every source gives: a trained policy and what is known of it."""

from dataclasses import dataclass
from typing import Any

from odeploy_export.parity.rows import Array
from odeploy_runtime.policy_file.actuation import Actuation
from odeploy_runtime.policy_file.recipe import Recipe
from odeploy_sim.tasks.task import Task


@dataclass(frozen=True)
class Source:
    """A trained policy, ready for export.

    Attributes:
        policy: in evaluation mode; of a type in `kinds.table`.
        method: how it was trained, for the manifest.
        name: name of the file, unless the user gives one.
        task: task that it was trained on, with the policy's observation.
        recorded: observations that it meets in use. Shape (M, O).
        provenance: JSON for the manifest, without paths.
        recipe: how the observation is computed from the robot's raw signals; None if it is those signals.
        actuation: low-level control that its file states; None if it states none.
    """

    policy: Any
    method: str
    name: str
    task: Task
    recorded: Array
    provenance: dict[str, Any]
    recipe: Recipe | None = None
    actuation: Actuation | None = None
