"""The error for an operator that ONNX does not have, in one line."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from odeploy_runtime.errors import ContractError, first_line

_NO_FUNCTION = re.compile(r"OpOverload\(op='([\w.]+)'")
_READS_A_VALUE = "aten._local_scalar_dense"  # the operator of `if tensor:` and `.item()`


def unsupported(module: nn.Module, inputs: Sequence[Tensor], error: Exception, opset: int) -> ContractError:
    """Return the exporter's error as one line that names operator and layer.

    Args:
        module: the module, which is run once more.
        inputs: arguments of its forward.
        error: the exporter's error.
        opset: requested opset.
    """
    layers = layer_of_each_operator(module, inputs)
    text, cause = "", error.__cause__
    while cause is not None:
        text, cause = f"{text}{cause} ", cause.__cause__
    named = _NO_FUNCTION.search(text)
    if named is not None:
        got, remedy = named[1], "build the layer from operators of ONNX"
        layer = layers.get(named[1])
    elif _READS_A_VALUE in layers:
        got, remedy = "a branch on the value of a tensor", "use torch.where or clamp, which compute both ways"
        layer = layers[_READS_A_VALUE]
    else:
        got, layer = first_line(error.__cause__ or error), None
        remedy = "write the module with fixed shapes and plain tensor operators"
    where = type(module).__name__ + (f", layer {layer}" if layer else "")
    return ContractError(where=where, expected=f"operators of ONNX opset {opset}", got=got, remedy=remedy)


DRAWS = re.compile(
    r"^aten\.(rand|normal|bernoulli|multinomial|poisson|exponential_|uniform_|cauchy_|native_dropout)"
)
"""Operators that draw random numbers."""


class _Operators(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """First layer that calls each operator."""

    def __init__(self, inside: list[str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._inside = inside
        self.layers: dict[str, str] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.layers.setdefault(str(func.overloadpacket), self._inside[-1])
        return func(*args, **(kwargs or {}))


@contextmanager
def _layers_in_progress(module: nn.Module) -> Iterator[list[str]]:
    inside = [""]
    hooks = []
    for name, layer in module.named_modules():
        hooks.append(layer.register_forward_pre_hook(lambda *_, name=name: inside.append(name)))
        hooks.append(layer.register_forward_hook(lambda *_: inside.pop() and None, always_call=True))
    try:
        yield inside
    finally:
        for hook in hooks:
            hook.remove()


def layer_of_each_operator(module: nn.Module, inputs: Sequence[Tensor]) -> dict[str, str]:
    """Return the first layer that calls each operator in one run of a module."""
    with torch.no_grad(), _layers_in_progress(module) as inside:
        operators = _Operators(inside)
        with operators:
            module(*inputs)
    return operators.layers
