"""A torch module as a policy: `odeploy.export_module` and `--from module`."""

import copy
import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from odeploy_export.graphs.tracing import trace_graph
from odeploy_export.graphs.unsupported import DRAWS, layer_of_each_operator
from odeploy_export.parity.check import Reference
from odeploy_export.parity.rows import Array
from odeploy_export.sources.external import LOG_STD, External
from odeploy_export.user_modules.copies import copied, plain
from odeploy_export.user_modules.outputs import with_action_alone
from odeploy_runtime.errors import ContractError
from odeploy_sim.tasks.task import Task

log = logging.getLogger(__name__)


def from_module(
    module: nn.Module,
    task: Task,
    noise_size: int,
    where: str,
    provenance: Mapping[str, Any] | None = None,
    output: str | None = None,
) -> External:
    """Trace a module; torch itself is the reference.

    Args:
        module: the module; it may return a tuple or a dictionary with the actions among others.
        task: task that it was trained on.
        noise_size: D, or 0.
        where: for messages.
        provenance: of its file.
        output: key or number of the actions; None for the only output of their size.

    Raises:
        ContractError: a module that does not accept the task's observations, does not return one tensor of real
            numbers, or has an operator that ONNX does not have.
    """
    name = type(module).__name__
    module = with_action_alone(copied(module), task, noise_size, output)
    require_answer(module, task, noise_size, where)
    require_deterministic(module, task, noise_size, where)
    try:
        graph = trace_graph(
            WithGraphInputs(plain(module)), len(task.observation), (1, 1, noise_size) if noise_size else (0, 0, 0)
        )
    except ContractError as error:
        layer = error.where.partition("layer module.")[2]
        place = f"{where}, layer {layer}" if layer else where
        raise ContractError(where=place, expected=error.expected, got=error.got, remedy=error.remedy) from None
    return External(
        model=graph,
        references=references(module, task, noise_size),
        witness="torch",
        method="torch module",
        name=f"{task.name}-{name}",
        where=where,
        noise_size=noise_size,
        provenance={
            "class": name,
            **(provenance or {}),
            "versions": {"torch": torch.__version__},
        },
        squashed_by=next((n for n, p in module.named_parameters() if p.dim() > 1 and LOG_STD.search(n)), None),
    )


class WithGraphInputs(nn.Module):
    """Module with our graphs' inputs: noise is (B, 1, 1, D) instead of (B, D)."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, observation: Tensor, noise: Tensor | None = None) -> Tensor:
        """Shapes (B, O), (B, 1, 1, D) -> the module's own."""
        answer: Tensor = self.module(observation, *([] if noise is None else [noise.reshape(-1, noise.shape[-1])]))
        return answer


def require_answer(module: nn.Module, task: Task, noise_size: int, where: str) -> None:
    """Call a module once, before anything slow.

    Raises:
        ContractError: it fails, or does not return one tensor of real numbers.
    """
    O = len(task.observation)  # noqa: E741
    takes = f"observation (B, {O})" + (f" and noise (B, {noise_size})" if noise_size else "")
    try:
        with torch.no_grad():
            answer = module(torch.zeros(2, O), *([torch.zeros(2, noise_size)] if noise_size else []))
    except Exception as error:  # noqa: BLE001 - the user's code may raise anything
        raise ContractError(
            where=where,
            expected=f"a forward that takes {takes}: task {task.name} has {O} observation signals",
            got=_last_line(error),
            remedy="give --task the task that it was trained on, and --noise-size if it takes noise",
        ) from None
    if not isinstance(answer, Tensor) or not answer.is_floating_point():
        kind = f"one of {answer.dtype}" if isinstance(answer, Tensor) else f"a {type(answer).__name__}"
        raise ContractError(
            where=where,
            expected="a forward that returns one tensor of real numbers, the actions",
            got=kind,
            remedy="wrap it in a module that returns only the action, in robot units",
        )


def require_deterministic(module: nn.Module, task: Task, noise_size: int, where: str) -> None:
    """Require the same answer to the same inputs.

    Raises:
        ContractError: the module draws noise itself; the message names the operator and its layer.
    """
    inputs = [torch.zeros(2, len(task.observation)), *([torch.zeros(2, noise_size)] if noise_size else [])]
    layers = layer_of_each_operator(module, inputs)
    drawn = next((name for name in layers if DRAWS.search(name)), None)
    if drawn is not None:
        raise ContractError(
            where=f"{where}, layer {layers[drawn]}" if layers[drawn] else where,
            expected="a deterministic forward, whose actions can be checked",
            got=f"{drawn}, which draws noise",
            remedy="return the mean action, or take the noise as second argument and give --noise-size",
        )


def references(module: nn.Module, task: Task, noise_size: int) -> tuple[Reference, ...]:
    """Return torch in float64 and in float32, or in float32 alone.

    A module that does not run in float64 is logged.
    """
    single, exact = _reference(module, torch.float32, noise_size), None
    zeros = np.zeros((2, len(task.observation)), np.float32)
    try:
        exact = _reference(copy.deepcopy(module).double(), torch.float64, noise_size)
        exact(zeros, np.zeros((2, 1, 1, noise_size), np.float32))
    except RuntimeError as error:
        log.info("torch: compared in float32 alone, since it does not run in float64 (%s)", _last_line(error))
        return (single,)
    return exact, single


def _reference(module: nn.Module, dtype: torch.dtype, noise_size: int) -> Reference:
    @torch.no_grad()
    def act(observation: Array, noise: Array) -> NDArray[np.float64]:
        # copies, since a module may change its inputs in place
        draws = [torch.tensor(noise, dtype=dtype).reshape(-1, noise_size)] if noise_size else []
        return module(torch.tensor(observation, dtype=dtype), *draws).double().numpy()  # type: ignore[no-any-return]

    return act


def _last_line(error: Exception) -> str:
    """Return the last line; the first lines of TorchScript's errors are a trace."""
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[-1].strip()[:200]}"
