"""Parity of a graph that chooses: candidates, values and choice, up to ties.

The graph outputs only the chosen candidate. So each candidate is first made the only one there is: given one draw
N times, the graph can choose nothing else. Then come the draws as they are. Where two values lie closer together
than the tolerance, rounding may choose either. This is counted as a tie, not refused.

On unit scale, the largest |Q| of all candidates counts as 1, or 1 if that is less.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from odeploy_export.graphs.best_of_n import OUTPUTS
from odeploy_export.parity.check import BATCHES, outputs
from odeploy_export.parity.deviation import Allowed, Numbers, worst_deviation
from odeploy_export.parity.rows import Rows
from odeploy_runtime.errors import ParityError
from odeploy_runtime.policy_file.manifest import Parity


@dataclass(frozen=True)
class Proposals:
    """All candidates of a policy, computed by torch.

    Attributes:
        actions: robot units. Shape (M, N, D).
        values: Shape (M, N).
    """

    actions: Numbers
    values: Numbers

    def at(self, index: NDArray[np.int64]) -> Numbers:
        """Return action and value of one candidate per row. Shapes (M,) -> (M, D + 1)."""
        rows = np.arange(len(index))
        return np.column_stack([self.actions[rows, index], self.values[rows, index]])


@dataclass(frozen=True)
class Chosen:
    """Choices of the graph.

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


def check_candidates(
    session: ort.InferenceSession, references: Sequence[Proposals], rows: Rows, allowed: Allowed
) -> Parity:
    """Compare a graph that chooses among candidates with torch.

    Args:
        session: of the graph.
        references: torch's candidates, in float64 and in float32.
        rows: inputs.
        allowed: scale, names and tolerance of the actions.

    Raises:
        ParityError: as `measure_choice`.
    """
    allowed = allowed.widened([r.actions for r in references])

    def run(noise: NDArray[np.float32], batch: int) -> Chosen:
        action, value, index = outputs(session, Rows(rows.observation, noise), batch, OUTPUTS)
        return Chosen(action.reshape(len(rows), -1).astype(np.float64), value.astype(np.float64), index)

    worst, ties = measure_choice(run, references, rows.noise, BATCHES, allowed)
    return Parity(session.get_providers()[0], worst, allowed.tolerance, len(rows), BATCHES, ties)


def measure_choice(
    run: Run,
    references: Sequence[Proposals],
    noise: NDArray[np.float32],
    batches: Sequence[int],
    allowed: Allowed,
) -> tuple[float, int]:
    """Compare every candidate at the last batch size, and the choice at all of them.

    Args:
        run: the graph.
        references: from torch; the first is the exact one, which decides about the choice.
        noise: Shape (M, N, S, D).
        batches: numbers of rows in one call.
        allowed: scale, names and tolerance of the D actions.

    Returns:
        The largest deviation, and the number of rows in which torch would choose another, equally good candidate.

    Raises:
        ParityError: a candidate or a value deviates, or a worse candidate was chosen.
    """
    exact = references[0].values
    unit = max(1.0, float(np.abs(exact).max()))
    allowed = replace(allowed, scale=np.append(allowed.scale, unit), names=[*allowed.names, "value"])
    deviations = []
    for i in range(noise.shape[1]):
        alone = run(np.repeat(noise[:, i : i + 1], noise.shape[1], axis=1), batches[-1])
        wanted = [r.at(np.full(len(noise), i)) for r in references]
        deviations.append(
            worst_deviation(_columns(alone), wanted, allowed, f"of candidate {i} at batch {batches[-1]}")
        )
    tied = np.zeros(len(noise), bool)
    for batch in batches:
        chosen, at = run(noise, batch), f"at batch {batch}"
        wanted = [r.at(chosen.index) for r in references]
        deviations.append(worst_deviation(_columns(chosen), wanted, allowed, at))
        _require_as_good(exact, chosen.index, allowed.tolerance * unit, allowed.where, at)
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
