"""The end of every export: golden rows, signature, a load as on the robot, and only then the file."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from odeploy_export.graphs.tracing import to_bytes
from odeploy_runtime.atomic_file import write_whole
from odeploy_runtime.inference.onnx_policy import OnnxPolicy
from odeploy_runtime.policy_file.file import parse
from odeploy_runtime.policy_file.manifest import GoldenRow, Manifest

RECORDED_ROWS = 128
"""Recorded observations that come first among the rows of a gate; golden rows are taken from them."""
ACTION_SEMANTICS = "absolute command in each signal's unit, clipped to its limits"
_GOLDEN_ROWS = 8


def observed_ranges(recorded: NDArray[np.float32]) -> tuple[tuple[float, float], ...]:
    """Least and greatest of each signal. Shape (M, O) -> O pairs."""
    return tuple((float(low), float(high)) for low, high in zip(recorded.min(0), recorded.max(0), strict=True))


def golden_picks(order: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
    """Which of the recorded rows become golden ones: spread out, or the first of an order. Shape (8,)."""
    if order is not None:
        return np.sort(order[:_GOLDEN_ROWS])
    return np.linspace(0, RECORDED_ROWS - 1, _GOLDEN_ROWS).astype(np.int64)


def golden_rows(
    observation: Iterable[NDArray[np.float32]],
    noise: Iterable[NDArray[np.float32]],
    actions: Iterable[NDArray[np.float64]],
) -> tuple[GoldenRow, ...]:
    """Rows of equal number; noise and action of any shape are written as flat numbers."""
    return tuple(
        GoldenRow(*(tuple(map(float, numbers.ravel())) for numbers in row))
        for row in zip(observation, noise, actions, strict=True)
    )


def write_policy(model: onnx.ModelProto, manifest: Manifest, out: Path, secret: Path | None) -> None:
    """Writes a policy file that loads and answers its golden rows, signed where there is a secret key.

    Raises:
        PolicyFileError: it does not; nothing was written.
    """
    data = to_bytes(model, manifest)
    if secret is not None:
        from odeploy_runtime.policy_file.signature import read_secret, sign

        data = sign(data, read_secret(secret), str(out))
    OnnxPolicy(parse(out, data))  # what the robot will do at load, before the file exists
    write_whole(out, data)
