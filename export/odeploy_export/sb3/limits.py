"""Limits of a saved model's actions: the task's, narrower ones, or rescaled ±1."""

from typing import Literal

import numpy as np
import torch
from torch import Tensor

from odeploy_export.sb3.saved_model import SavedModel
from odeploy_runtime.errors import ContractError, UsageError
from odeploy_runtime.signals import highs, lows
from odeploy_sim.tasks.task import Task


def limits(
    model: SavedModel, task: Task, squash: bool, actions: Literal["rescaled", "raw"] | None
) -> tuple[Tensor, Tensor]:
    """Return the limits of the model's training.

    They are the task's own if equal to them or not readable.
    """
    task_low, task_high = lows(task.action), highs(task.action)
    space = model.parts("action_space")
    try:
        low, high = (np.array(str(space[name]).strip("[]").split(), np.float32) for name in ("low", "high"))
    except (KeyError, ValueError):  # another version's format, or abbreviated
        low, high = task_low, task_high
    if low.shape != task_low.shape or high.shape != task_low.shape:
        low, high = task_low, task_high
    if np.allclose(low, task_low, 1e-6) and np.allclose(high, task_high, 1e-6):  # the text has eight digits
        low, high = task_low, task_high
    unit = bool((low == -1).all() and (high == 1).all())
    if unit and not ((task_low == -1).all() and (task_high == 1).all()):
        if actions is None:
            i = int(np.argmax((task_low != -1) | (task_high != 1)))
            raise UsageError(
                where=f"{model.path}, action {task.action[i].name}",
                expected=f"--actions rescaled or --actions raw, since the task's limits are "
                f"[{task_low[i]:g}, {task_high[i]:g}]",
                got="a model with actions within [-1, 1]",
                remedy="give --actions rescaled for a training behind RescaleAction, raw for robot units",
            )
        if actions == "rescaled":
            low, high = task_low, task_high
    right = (task_low <= low) & (low < high) & (high <= task_high)
    if squash:
        right &= np.isfinite(low) & np.isfinite(high)
    if not right.all():
        i = int(np.argmin(right))
        raise ContractError(
            where=f"{model.path}, action {task.action[i].name}",
            expected=f"{'finite ' * squash}limits within the task's [{task_low[i]:g}, {task_high[i]:g}]",
            got=f"[{low[i]:g}, {high[i]:g}]",
            remedy="give --task the task that the model was trained on",
        )
    return torch.from_numpy(low), torch.from_numpy(high)
