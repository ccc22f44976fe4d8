"""The action among several outputs of a module: a tuple, or a dictionary."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from odeploy_runtime.errors import UsageError
from odeploy_sim.tasks.task import Task


class ActionAlone(nn.Module):
    """Module that returns one of another module's outputs.

    Attributes:
        module: the other module.
        key: place in its tuple, or key of its dictionary.
    """

    def __init__(self, module: nn.Module, key: int | str) -> None:
        super().__init__()
        self.module, self.key = module, key

    def forward(self, observation: Tensor, noise: Tensor | None = None) -> Tensor:
        """Return the actions. Shapes as the other module's."""
        answer: Tensor = self.module(observation, *([] if noise is None else [noise]))[self.key]
        return answer


def with_action_alone(module: nn.Module, task: Task, noise_size: int, output: str | None) -> nn.Module:
    """Return a module of one output, the actions.

    A module that returns one tensor, or fails, stays as it is.

    Args:
        module: the module.
        task: task that it was trained on.
        noise_size: D, or 0.
        output: key or number of the actions; None for the only output of their size.

    Raises:
        UsageError: several outputs of their size, or none.
    """
    try:
        with torch.no_grad():
            noise = [torch.zeros(2, noise_size)] if noise_size else []
            answer = module(torch.zeros(2, len(task.observation)), *noise)
    except Exception:  # noqa: BLE001 - the user's code may raise anything; its error is reported later
        return module
    several: dict[int | str, Any]
    if isinstance(answer, Mapping):
        several = dict(answer)
    elif isinstance(answer, tuple | list):
        several = dict(enumerate(answer))
    else:
        return module
    A = len(task.action)
    fits = [key for key, value in several.items() if isinstance(value, Tensor) and value.shape[-1:] == (A,)]
    found = fits if output is None else [key for key in several if str(key) == output]
    if len(found) != 1:
        raise UsageError(
            where=type(module).__name__ if output is None else f"--output {output}",
            expected=f"--output NAME, the actions of the {A} signals of {task.name}",
            got=", ".join(f"{key} {_described(value)}" for key, value in several.items()) or "no outputs",
            remedy="name the output of the deterministic action",
        )
    return ActionAlone(module, found[0])


def _described(value: Any) -> str:
    return str(tuple(value.shape)) if isinstance(value, Tensor) else type(value).__name__
