"""Deviation of a graph from torch on unit scale.

An error names the worst row and signal.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from odeploy_export.graphs.rewrites import Precision
from odeploy_runtime.errors import ParityError
from odeploy_runtime.signals import Signal, half_ranges

Numbers = NDArray[np.float64]

TOLERANCE = 1e-5
TOLERANCES: dict[Precision, float] = {"f32": TOLERANCE, "fp16": 1e-2}
"""Default tolerance of each precision, on unit-scale actions."""

ROUNDING = 4.0
"""Multiple of torch's own float32 error that a graph may deviate if that exceeds the tolerance, since a graph adds
in another order. A flow that FPO trained on hopper lost 2e-5 in two steps of midpoint and 1e-6 in ten of Euler."""

MOST = 1e-3
"""Upper limit of that allowance: if float32 itself deviates by more, even infinitely, parity cannot be shown."""


@dataclass(frozen=True)
class Allowed:
    """Deviation that a parity check allows, with what it needs to name a larger one.

    Attributes:
        scale: deviation that counts as 1. Shape (C,).
        names: names of the C columns.
        tolerance: largest allowed deviation, on unit scale.
        where: the file, for messages.
        rounding: multiple of torch's own float32 error that is allowed beyond the tolerance; 0 for none.
    """

    scale: Numbers
    names: Sequence[str]
    tolerance: float = TOLERANCE
    where: str = ""
    rounding: float = ROUNDING

    def widened(self, references: Sequence[Numbers]) -> "Allowed":
        """Return the allowance, wider where float32 itself misses the tolerance.

        A steep flow amplifies its rounding.

        Args:
            references: from torch, in float64 and in float32. Each of shape (M, C).
        """
        if not self.rounding:
            return self
        exact, rounded = references
        lost = float((np.abs(rounded - exact) / self.scale).max())
        return replace(self, tolerance=max(self.tolerance, min(MOST, self.rounding * lost)))


def allowed_actions(
    actions: Sequence[Signal],
    horizon: int,
    where: str,
    tolerance: float = TOLERANCE,
    rounding: float = ROUNDING,
) -> Allowed:
    """Return what is allowed of a chunk's H · A numbers.

    Half of an action's range counts as 1.
    """
    scale = np.tile(half_ranges(actions), horizon)
    return Allowed(scale, column_names(actions, horizon), tolerance, where, rounding)


def worst_deviation(got: Numbers, references: Sequence[Numbers], allowed: Allowed, at: str) -> float:
    """Return the largest deviation of a graph's outputs from the references.

    Args:
        got: from ONNX. Shape (M, C).
        references: from torch; the message states the first. Each of shape (M, C).
        allowed: scale, names and tolerance.
        at: the run of the graph, for the message.

    Raises:
        ParityError: it exceeds the tolerance.
    """
    error = np.max([np.abs(got - wanted) for wanted in references], axis=0) / allowed.scale
    row, column = map(int, np.unravel_index(np.argmax(np.nan_to_num(error, nan=np.inf)), error.shape))
    if not error[row, column] <= allowed.tolerance:
        raise ParityError(
            where=f"{allowed.where}, row {row} {at}, {allowed.names[column]}",
            expected=f"torch and ONNX within {allowed.tolerance:g} on unit scale",
            got=f"{references[0][row, column]:.7g} from torch and {got[row, column]:.7g} from ONNX",
            remedy="nothing was written; if this is rounding, give a larger --tolerance; otherwise check the "
            "graph's sampler, normaliser and limits against the policy",
        )
    return float(error[row, column])


def column_names(actions: Sequence[Signal], horizon: int) -> list[str]:
    """Return the names of a chunk's H · A numbers, for a refusal."""
    if horizon == 1:
        return [f"signal {a.name}" for a in actions]
    return [f"action {h} of the chunk, signal {a.name}" for h in range(horizon) for a in actions]
