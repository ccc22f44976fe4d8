"""How far an answer lies from torch's on unit scale, and the refusal that names the worst row and signal."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from odeploy_export.graphs.rewrites import Precision
from odeploy_runtime.errors import ParityError
from odeploy_runtime.signals import Signal

Numbers = NDArray[np.float64]

TOLERANCE = 1e-5
TOLERANCES: dict[Precision, float] = {"f32": TOLERANCE, "fp16": 1e-2}
"""Default tolerance of each precision, on unit-scale actions."""

ROUNDING = 4.0
"""Times torch's own float32 error that a graph may be off where that is beyond the tolerance, since it adds in
another order. A flow that FPO trained on hopper lost 2e-5 in two steps of midpoint and 1e-6 in ten of Euler."""

MOST = 1e-3
"""What is allowed so at most: where float32 is off by more, infinite as it may be, there is no parity to show."""


def allowance(
    references: Sequence[Numbers], scale: Numbers, tolerance: float, rounding: float = ROUNDING
) -> float:
    """The tolerance, or more where float32 itself does not keep it: a steep flow amplifies what it rounds.

    Args:
        references: from torch, in float64 and in float32. Each of shape (M, C).
        scale: what counts as 1. Shape (C,).
        tolerance: in these units.
        rounding: times the second's error that is allowed; 0 for the tolerance alone.
    """
    exact, rounded = references
    return max(tolerance, min(MOST, rounding * float((np.abs(rounded - exact) / scale).max())))


def worst_deviation(
    got: Numbers,
    references: Sequence[Numbers],
    scale: Numbers,
    names: Sequence[str],
    tolerance: float,
    where: str,
    at: str,
) -> float:
    """The largest deviation of an answer from the references.

    Args:
        got: from ONNX. Shape (M, C).
        references: from torch; the message states the first. Each of shape (M, C).
        scale: what counts as 1. Shape (C,).
        names: of the columns.
        tolerance: in these units.
        where: the file.
        at: what of it was run, for the message.

    Raises:
        ParityError: it is beyond the tolerance.
    """
    error = np.max([np.abs(got - wanted) for wanted in references], axis=0) / scale
    row, column = map(int, np.unravel_index(np.argmax(np.nan_to_num(error, nan=np.inf)), error.shape))
    if not error[row, column] <= tolerance:
        raise ParityError(
            where=f"{where}, row {row} {at}, {names[column]}",
            expected=f"torch and ONNX within {tolerance:g} on unit scale",
            got=f"{references[0][row, column]:.7g} from torch and {got[row, column]:.7g} from ONNX",
            remedy="nothing was written; if that is rounding give a larger --tolerance, else check the graph's "
            "sampler, normaliser and bounds against the policy",
        )
    return float(error[row, column])


def column_names(actions: Sequence[Signal], horizon: int) -> list[str]:
    """What the H · A numbers of a chunk are called in a refusal."""
    if horizon == 1:
        return [f"signal {a.name}" for a in actions]
    return [f"action {h} of the chunk, signal {a.name}" for h in range(horizon) for a in actions]
