"""The parity check: a graph computes what the trained policy computes.

References, usually torch in float64 and in float32, are compared with ONNX Runtime on recorded, random and edge
observations, at several batch sizes. Deviations are on unit scale: half of each action's range counts as 1.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from odeploy_export.graphs.real_time_chunking import FROZEN, PREVIOUS
from odeploy_export.graphs.recurrent import STATE_IN
from odeploy_export.parity.deviation import Allowed, Numbers, worst_deviation
from odeploy_export.parity.rows import Array, Rows
from odeploy_export.parity.sequences import run_sequences
from odeploy_runtime.policy_file.manifest import Parity

BATCHES = (1, 3, 8)

Reference = Callable[[Array, Array], Numbers]
"""(observation (M, O), noise (M, N, S, D)) -> actions (M, D), computed by other means than the graph."""


def check_answers(
    session: ort.InferenceSession,
    references: Sequence[Reference],
    rows: Rows,
    allowed: Allowed,
    batches: Sequence[int] = BATCHES,
) -> Parity:
    """Compare all rows at all batch sizes.

    The result has the tolerance that applied; see `Allowed.widened`.

    Args:
        session: of the graph.
        references: the most exact first.
        rows: inputs.
        allowed: scale, names and tolerance of the actions.
        batches: numbers of rows in one call.

    Raises:
        ParityError: a deviation beyond the tolerance; the message names the worst row and signal.
    """
    wanted = [reference(rows.observation, rows.noise) for reference in references]
    allowed = allowed.widened(wanted)
    worst = max(
        worst_deviation(run_in_batches(session, rows, batch), wanted, allowed, f"at batch {batch}")
        for batch in batches
    )
    return Parity(session.get_providers()[0], worst, allowed.tolerance, len(rows), tuple(batches))


def run_in_batches(session: ort.InferenceSession, rows: Rows, batch: int) -> Numbers:
    """Return the graph's actions for all rows. Shape (M, D).

    A recurrent graph takes one row after the other.
    """
    if any(i.name == STATE_IN for i in session.get_inputs()):
        action_size = session.get_outputs()[0].shape[2]
        return run_sequences(session, rows.observation[None])[0, :, :action_size]
    (action,) = outputs(session, rows, batch, ("action",))
    joined: Numbers = action.reshape(len(rows), -1).astype(np.float64)
    return joined


def outputs(session: ort.InferenceSession, rows: Rows, batch: int, names: Sequence[str]) -> list[NDArray[Any]]:
    """Return the named outputs for all rows."""
    wanted = {i.name: i.shape[1:] for i in session.get_inputs()}
    parts = []
    for start in range(0, len(rows), batch):
        part = slice(start, start + batch)
        feed = {"observation": rows.observation[part], "noise": rows.noise[part]}
        # A graph that continues a previous chunk runs without one here.
        feed |= {
            k: np.zeros((len(feed["noise"]), *wanted[k]), np.float32) for k in (PREVIOUS, FROZEN) if k in wanted
        }
        parts.append(session.run(names, {k: v for k, v in feed.items() if k in wanted}))
    return [np.concatenate(output) for output in zip(*parts, strict=True)]
