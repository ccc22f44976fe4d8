"""Diagnosis of a failed parity check: common faults, tried one after the other.

The parity check finds that two functions differ. Each fault is a third function, the policy with that fault. The
one that agrees with the graph is what happened.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import onnx
import onnxruntime as ort
from onnx import numpy_helper

from odeploy_export.parity.check import Reference, run_in_batches
from odeploy_export.parity.deviation import Numbers, column_names
from odeploy_export.parity.rows import Array, Rows
from odeploy_runtime.errors import ParityError
from odeploy_runtime.signals import Signal, half_ranges, lows

Faults = Iterable[tuple[str, Reference]]
"""What would be wrong, as a clause after "as if", and the policy with that fault."""

_AGREES = 1e-4  # on unit scale: wide enough for what rounding becomes under a fault, far below what a fault does
_BATCH = 8


def explained(
    error: ParityError,
    session: ort.InferenceSession,
    exact: Reference,
    faults: Faults,
    rows: Rows,
    actions: tuple[Signal, ...],
) -> ParityError:
    """Return the error with the fault that explains it, if any; see `diagnose`."""
    fault = diagnose(session, exact, faults, rows, actions)
    if fault is None:
        return error
    return ParityError(
        where=error.where,
        expected=error.expected,
        got=f"{error.got}, as if {fault}",
        remedy="fix that in the graph, or in the policy that it is compared with, and export again",
    )


def diagnose(
    session: ort.InferenceSession, exact: Reference, faults: Faults, rows: Rows, actions: tuple[Signal, ...]
) -> str | None:
    """Return the fault with which the policy computes what the graph does.

    None if no known fault explains all rows. Also None if the policy itself agrees: a fault that changes nothing
    in it, such as a missing scale of 1, would explain what rounding did.

    Args:
        session: of the graph.
        exact: the policy in float64.
        faults: the policy with each fault.
        rows: inputs.
        actions: signals of one action.
    """
    got = run_in_batches(session, rows, _BATCH)
    horizon = got.shape[1] // len(actions)
    scale = np.tile(half_ranges(actions), horizon)
    if not np.isfinite(got).all():
        return "a weight in the graph were not finite"
    wanted = exact(rows.observation, rows.noise)
    if (np.abs(wanted - got) / scale).max() <= _AGREES:
        return None
    if all(None not in (s.low, s.high) for s in actions):
        faults = [*faults, ("tanh were applied twice", _squashed_again(exact, actions))]
    for fault, act in faults:
        if (np.abs(act(rows.observation, rows.noise) - got) / scale).max() <= _AGREES:
            return fault
    return _permutation(got / scale, wanted / scale, column_names(actions, horizon))


def not_finite_weights(model: onnx.ModelProto) -> list[str]:
    """Return the names of the initialisers that contain a NaN or an infinity."""
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    return [n for n, a in arrays.items() if a.dtype.kind == "f" and not np.isfinite(a).all()]


def _squashed_again(act: Reference, actions: tuple[Signal, ...]) -> Reference:
    half_range = half_ranges(actions)
    middle = lows(actions) + half_range

    def again(observation: Array, noise: Array) -> Numbers:
        once = act(observation, noise)
        unit = (once.reshape(len(once), -1, len(actions)) - middle) / half_range
        squashed: Numbers = (middle + half_range * np.tanh(unit)).reshape(once.shape)
        return squashed

    return again


def _permutation(got: Numbers, exact: Numbers, names: Sequence[str]) -> str | None:
    """Describe a permutation of the columns; return None if there is no such one.

    Both of shape (M, D), on unit scale.
    """
    distance = np.abs(got[:, :, None] - exact[:, None, :]).max(axis=0)
    nearest = distance.argmin(axis=1).tolist()
    if distance.min(axis=1).max() > _AGREES or sorted(nearest) != list(range(len(names))):
        return None
    moved = [f"{names[i]} held {names[k]}" for i, k in enumerate(nearest) if k != i]
    return f"the actions were permuted: {', '.join(moved)}" if moved else None
