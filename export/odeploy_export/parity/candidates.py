"""The gate of a graph that chooses: its candidates, their values and its choice are torch's, up to ties.

The graph answers the chosen candidate alone. So each candidate is first made the only one there is: of one draw,
repeated N times, the graph can answer nothing else. Then come the draws as they are. Where two values lie
closer together than the tolerance, rounding may choose either; that is counted, and no refusal.

On unit scale, the largest |Q| of all candidates counts as 1, or 1 where that is less.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from odeploy_export.parity.deviation import Numbers, worst_deviation
from odeploy_runtime.errors import ParityError


@dataclass(frozen=True)
class Proposals:
    """All candidates, from torch.

    Attributes:
        actions: robot units. Shape (M, N, D).
        values: Shape (M, N).
    """

    actions: Numbers
    values: Numbers

    def at(self, index: NDArray[np.int64]) -> Numbers:
        """Action and value of one candidate a row. Shapes (M,) -> (M, D + 1)."""
        rows = np.arange(len(index))
        return np.column_stack([self.actions[rows, index], self.values[rows, index]])


@dataclass(frozen=True)
class Chosen:
    """What the graph chose.

    Attributes:
        action: robot units. Shape (M, D).
        value: Shape (M,).
        index: Shape (M,).
    """

    action: Numbers
    value: Numbers
    index: NDArray[np.int64]


Run = Callable[[NDArray[np.float32], int], Chosen]
"""(noise (M, N, S, D), batch size) -> the graph's choices for the rows' observations."""


def measure_choice(
    run: Run,
    references: Sequence[Proposals],
    noise: NDArray[np.float32],
    batches: Sequence[int],
    scale: Numbers,
    names: Sequence[str],
    tolerance: float,
    where: str,
) -> tuple[float, int]:
    """Compares every candidate at the last batch size, and the choice at all of them.

    Args:
        run: the graph.
        references: from torch; the first is the exact one, which decides about the choice.
        noise: Shape (M, N, S, D).
        batches: sizes.
        scale: what counts as 1, of the actions. Shape (D,).
        names: of the D numbers.
        tolerance: on unit scale.
        where: the file.

    Returns:
        The largest deviation, and the rows in which torch would have chosen another, equally good candidate.

    Raises:
        ParityError: a candidate or a value deviates, or a worse candidate was chosen.
    """
    exact = references[0].values
    unit = max(1.0, float(np.abs(exact).max()))
    scale, names = np.append(scale, unit), [*names, "value"]
    deviations = []
    for i in range(noise.shape[1]):
        alone = run(np.repeat(noise[:, i : i + 1], noise.shape[1], axis=1), batches[-1])
        wanted = [r.at(np.full(len(noise), i)) for r in references]
        at = f"of candidate {i} at batch {batches[-1]}"
        deviations.append(worst_deviation(_columns(alone), wanted, scale, names, tolerance, where, at))
    tied = np.zeros(len(noise), bool)
    for batch in batches:
        chosen, at = run(noise, batch), f"at batch {batch}"
        wanted = [r.at(chosen.index) for r in references]
        deviations.append(worst_deviation(_columns(chosen), wanted, scale, names, tolerance, where, at))
        _require_as_good(exact, chosen.index, tolerance * unit, where, at)
        tied |= chosen.index != exact.argmax(axis=1)
    return max(deviations), int(tied.sum())


def _columns(chosen: Chosen) -> Numbers:
    return np.column_stack([chosen.action, chosen.value])


def _require_as_good(values: Numbers, index: NDArray[np.int64], margin: float, where: str, at: str) -> None:
    rows = np.arange(len(index))
    regret = values.max(axis=1) - values[rows, index]
    row = int(regret.argmax())
    if regret[row] >= margin:
        best = int(values[row].argmax())
        raise ParityError(
            where=f"{where}, row {row} {at}, the choice",
            expected=f"candidate {best} of value {values[row, best]:.7g}",
            got=f"candidate {index[row]} of value {values[row, index[row]]:.7g}",
            remedy="nothing was written; check the graph's critics against the policy",
        )
