"""Checkpoints: replaced atomically, loaded without executing code, checked."""

import io
from pathlib import Path
from typing import Any

import torch
from torch import nn

from odeploy_runtime.atomic_file import write_whole
from odeploy_runtime.errors import FormatError, OdeployError
from odeploy_runtime.regular_file import DATA_BYTES, open_regular

CHECKPOINT = "checkpoint.pt"
LAST = "last"
"""Key of the last policy's weights in the checkpoint of a run that keeps the best one."""


def save(folder: Path, state: dict[str, Any]) -> None:
    """Replace the checkpoint atomically."""
    data = io.BytesIO()
    torch.save(state, data)
    write_whole(folder / CHECKPOINT, data.getvalue())


def load(folder: Path) -> dict[str, Any] | None:
    """Return what `save` wrote; None before the first save.

    Raises:
        FormatError: the file is damaged.
    """
    path = folder / CHECKPOINT
    if not path.exists():
        return None
    try:
        with open_regular(path, DATA_BYTES) as file:
            state = torch.load(file, map_location="cpu", weights_only=True)
        if not isinstance(state, dict) or not isinstance(state.get("step"), int) or "policy" not in state:
            raise ValueError("no step and policy in it")
    except Exception as error:  # noqa: BLE001 - torch raises many types for a cut or altered file
        raise _damaged(path, error) from None
    return state


def restore(policy: nn.Module, weights: dict[str, Any], folder: Path) -> None:
    """Load a checkpoint's weights into a policy of the same shape.

    Raises:
        FormatError: they do not fit.
    """
    try:
        policy.load_state_dict(weights)
    except (RuntimeError, TypeError, AttributeError) as error:
        raise _damaged(folder / CHECKPOINT, error) from None


def _damaged(path: Path, error: Exception) -> OdeployError:
    reason = str(error).splitlines()[0] if str(error) else ""
    return FormatError(
        where=str(path),
        expected="the checkpoint that this run saved",
        got=f"a file that does not load ({type(error).__name__}: {reason[:100]})",
        remedy="remove the folder and train again",
    )
