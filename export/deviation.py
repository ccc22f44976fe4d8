"""How far an answer lies from torch's on unit scale, and the refusal that names the worst row and signal."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from runtime.errors import ParityError
from runtime.signals import Signal

Numbers = NDArray[np.float64]


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
            remedy="nothing was written; check the graph's sampler, normaliser and bounds against the policy",
        )
    return float(error[row, column])


def column_names(actions: Sequence[Signal], horizon: int) -> list[str]:
    """What the H · A numbers of a chunk are called in a refusal."""
    if horizon == 1:
        return [f"signal {a.name}" for a in actions]
    return [f"action {h} of the chunk, signal {a.name}" for h in range(horizon) for a in actions]
