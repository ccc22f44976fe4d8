"""A policy that was not trained here: its graph, and what it must answer.

How it was had is another file's business: `torch_module`, `torchscript`, `bare_onnx`. Nothing is known of what is
inside, so all that counts is how it answers.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from odeploy_export.parity.gate import Reference, Rows
from odeploy_runtime.errors import ContractError
from odeploy_runtime.policy_file.manifest import Noise
from odeploy_runtime.signals import Signal
from odeploy_sim.tasks.task import Task


@dataclass(frozen=True)
class Foreign:
    """A policy, unproved.

    Attributes:
        model: `observation` (B, O) and, unless its size is 0, `noise` (B, 1, 1, D), in this order and under any
            names, to one output, (B, A) or (B, H, A), which need not keep the limits.
        references: what it must compute, by other means, in its own shape; the most exact first.
        witness: what computes the references, for messages.
        method: for the manifest.
        name: of the file, if the user gives none.
        where: for messages.
        noise_size: D, or 0 for a policy without noise.
        provenance: JSON for the manifest, without paths.
        notes: lines for the user.
    """

    model: onnx.ModelProto
    references: tuple[Reference, ...]
    witness: str
    method: str
    name: str
    where: str
    noise_size: int
    provenance: Mapping[str, Any]
    notes: tuple[str, ...] = ()

    def noise(self, mode: str) -> Noise:
        """The noise contract; `mode` is what the user asked for."""
        if not self.noise_size:
            return Noise("none")
        return Noise("zero" if mode == "zero" else "normal", (1, 1, self.noise_size))

    def refuse_nan(self) -> None:
        """Refuses weights that are no numbers; infinity may be meant, in a mask.

        Raises:
            ContractError: the first of them is named.
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
        """H, read off an answer to two observations.

        Raises:
            ContractError: an answer of another shape, or of another number of actions than the task has.
        """
        A, zeros = len(task.action), np.zeros((2, len(task.observation)), np.float32)
        shape = self.references[-1](zeros, np.zeros((2, *self.noise("zero").shape), np.float32)).shape
        if len(shape) not in (2, 3) or shape[0] != 2 or shape[-1] != A or 0 in shape:
            raise ContractError(
                where=self.where,
                expected=f"actions (B, {A}) or (B, H, {A}): task {task.name} has {A} action signals, "
                f"{task.action[0].name} to {task.action[-1].name}",
                got=f"an answer of shape {shape} to 2 observations",
                remedy="give --task the task that it was trained on, or reshape its answer",
            )
        return shape[1] if len(shape) == 3 else 1

    def answers(self, rows: Rows, actions: tuple[Signal, ...]) -> list[NDArray[np.float64]]:
        """What each reference answers, before any limit. Each of shape (M, H, A).

        Raises:
            ContractError: an answer that is not finite.
        """
        answers = [r(rows.observation, rows.noise).reshape(len(rows), -1, len(actions)) for r in self.references]
        for answer in answers:
            if not np.isfinite(answer).all():
                row, step, signal = np.argwhere(~np.isfinite(answer))[0]
                raise ContractError(
                    where=f"{self.where}, row {row}, signal {actions[signal].name}",
                    expected="finite answers to recorded, random and edge observations",
                    got=f"{answer[row, step, signal]:g} from {self.witness}",
                    remedy="check its weights and its normaliser, which may divide by zero",
                )
        return answers
