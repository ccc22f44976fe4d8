"""A policy that was trained elsewhere: its graph, and what it must compute.

`torch_module`, `torchscript` and `onnx_model` read it. Nothing is known of its inside, so only its outputs count.
"""

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper

from odeploy_export.graphs.action_output import AS_IT_IS, Output
from odeploy_export.kinds.external import ExternalPolicy, external_noise
from odeploy_export.options import ReadingOptions
from odeploy_export.parity.check import Reference
from odeploy_export.parity.rows import Array
from odeploy_export.sources.action_range import action_range, require_within
from odeploy_export.sources.adapt import adapt, ends_of
from odeploy_export.sources.play import play_graph, play_recipe
from odeploy_export.sources.source import Source
from odeploy_runtime.errors import ContractError
from odeploy_runtime.policy_file.recipe import Recipe
from odeploy_runtime.typed_json import encode
from odeploy_sim.tasks.task import Task
from odeploy_train.modules.running_moments import moments

log = logging.getLogger(__name__)

LOG_STD = re.compile(r"log_?std", re.IGNORECASE)
"""Name of a layer of log standard deviations, which SAC and TQC have; PPO's is a vector without a layer."""


@dataclass(frozen=True)
class External:
    """A policy as it was read.

    Attributes:
        model: `observation` (B, O) and, unless its size is 0, `noise` (B, 1, 1, D), in this order and under any
            names, to one output, (B, A) or (B, H, A), which may exceed the limits.
        references: what it must compute, by other means, in its own shape; the most exact first.
        witness: what computes the references, for messages.
        method: for the manifest.
        name: name of the file, unless the user gives one.
        where: for messages.
        noise_size: D, or 0 for a policy without noise.
        provenance: JSON for the manifest, without paths.
        squashed_by: name of a part that only a policy with a tanh behind its output has; None without one.
    """

    model: onnx.ModelProto
    references: tuple[Reference, ...]
    witness: str
    method: str
    name: str
    where: str
    noise_size: int
    provenance: Mapping[str, Any]
    squashed_by: str | None = None

    def refuse_nan(self) -> None:
        """Refuse NaN weights. Infinity is allowed, since a mask may need it.

        Raises:
            ContractError: the message names the first.
        """
        weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in self.model.graph.initializer}
        broken = [name for name, w in weights.items() if w.dtype.kind == "f" and np.isnan(w).any()]
        if broken:
            raise ContractError(
                where=f"{self.where}, weight {broken[0]}",
                expected="numbers",
                got="NaN" + (f", as in {len(broken) - 1} more" if broken[1:] else ""),
                remedy="export a checkpoint from before the training broke",
            )

    def horizon(self, task: Task) -> int:
        """Return H, from the shape of the actions for two observations.

        Raises:
            ContractError: another shape, or another number of action signals than the task has.
        """
        A, zeros = len(task.action), np.zeros((2, len(task.observation)), np.float32)
        shape = self.references[-1](
            zeros, np.zeros((2, *external_noise(self.noise_size, "zero").shape), np.float32)
        ).shape
        if len(shape) not in (2, 3) or shape[0] != 2 or shape[-1] != A or 0 in shape:
            raise ContractError(
                where=self.where,
                expected=f"actions (B, {A}) or (B, H, {A}): task {task.name} has {A} action signals, "
                f"{task.action[0].name} to {task.action[-1].name}",
                got=f"actions of shape {shape} for 2 observations",
                remedy="give --task the task that it was trained on, or reshape its output",
            )
        return shape[1] if len(shape) == 3 else 1


def from_external(
    external: External,
    task: Task,
    recorded: Array | None = None,
    recipe: Recipe | None = None,
    output: Output = AS_IT_IS,
    *,
    places: tuple[int, ...] | None = None,
    reading: ReadingOptions = ReadingOptions(),
    stated: Mapping[str, Any] | None = None,
) -> Source:
    """Give a graph our inputs, outputs and limits.

    Args:
        external: the policy.
        task: task that it was trained on, with the policy's observation.
        recorded: observations that it meets in use, shape (M, O); None to play the task for them.
        recipe: how the observation is computed from the robot's raw signals, if it is not those.
        output: how the network's output becomes a command.
        places: place of each of the network's inputs in the observation; None for the same order. Shape (O,).
        reading: how to read what the file leaves open.
        stated: provenance of what the file states about its robot.

    Raises:
        ContractError: a policy that does not fit the task, or a graph that cannot be served.
        UsageError: the file leaves open how its actions are meant, and no option says it.
    """
    external.refuse_nan()
    horizon, noise_size, where = external.horizon(task), external.noise_size, external.where
    named, output = (
        output,
        action_range(external.model, task.action, output, reading, where, external.squashed_by),
    )
    graph = adapt(
        external.model,
        task.observation,
        task.action,
        noise_size,
        horizon,
        where,
        output,
        places=places,
        with_raw=recipe is not None and recipe.uses_raw_action,
    )
    for note in graph.notes:
        log.info(note)
    noise = external_noise(noise_size, "zero")
    if recorded is None and recipe is not None:
        recorded = play_recipe(graph.model, replace(task, observation=recipe.raw), recipe, noise)
    elif recorded is None:
        recorded = play_graph(graph.model, task, noise)
    mean, std = moments(torch.from_numpy(recorded).double())
    policy = ExternalPolicy(
        model=graph.model,
        batches=graph.batches,
        references=tuple(_between(reference, places, output) for reference in external.references),
        witness=external.witness,
        where=where,
        actions=task.action,
        horizon=horizon,
        noise_size=noise_size,
        observation_mean=mean,
        observation_std=std,
    )
    if named == AS_IT_IS and reading.squash is None and ends_of(external.model.graph) is None:
        require_within(policy, recorded)
    provenance = dict(external.provenance) | dict(stated or {})
    provenance |= {} if output == AS_IT_IS else {"output": encode(output)}
    return Source(policy, external.method, external.name, task, recorded, provenance, recipe)


def _between(reference: Reference, places: tuple[int, ...] | None, output: Output) -> Reference:
    """Return a reference of the task's observations and commands."""
    order = slice(None) if places is None else list(places)
    return lambda observation, noise: output.commands(reference(observation[:, order], noise))
