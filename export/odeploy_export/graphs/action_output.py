"""Order, squash, scale and offset between a network's output and the command."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from odeploy_runtime.typed_json import LEFT_OUT

RAW_ACTION = "raw_action"
Step = tuple[onnx.NodeProto, tuple[onnx.TensorProto, ...]]


@dataclass(frozen=True)
class Output:
    """Command of a network's output: scale · squash(ordered output) + offset.

    Attributes:
        scale: for example 0.25 rad; None for 1. Shape (A,).
        offset: for example the default pose; None for 0. Shape (A,).
        places: place of each of the task's actions in the network's output; None for the same order. Shape (A,).
        squash: whether tanh comes before scale and offset.
    """

    scale: tuple[float, ...] | None = None
    offset: tuple[float, ...] | None = None
    places: tuple[int, ...] | None = field(default=None, metadata=LEFT_OUT)
    squash: bool | None = field(default=None, metadata=LEFT_OUT)

    def commands(self, answer: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the commands of a network's outputs. Shape (..., A)."""
        ordered = answer if self.places is None else answer[..., list(self.places)]
        scale = 1.0 if self.scale is None else np.array(self.scale)
        return (np.tanh(ordered) if self.squash else ordered) * scale + (
            0.0 if self.offset is None else np.array(self.offset)
        )

    def ordering(self, value: str) -> Iterator[Step]:
        """Yield the node that orders a graph's output as the task, and its constant."""
        if self.places is not None:
            places = numpy_helper.from_array(np.array(self.places, np.int64), "action_places")
            yield helper.make_node("Gather", [value, places.name], ["ordered"], axis=-1), (places,)

    def commanding(self, value: str) -> Iterator[Step]:
        """Yield the nodes from the ordered output to the command, and their constants."""
        if self.squash:
            yield helper.make_node("Tanh", [value], ["squashed"]), ()
            value = "squashed"
        for operator, numbers in (("Mul", self.scale), ("Add", self.offset)):
            if numbers is not None:
                name = f"command_{operator.lower()}"
                constant = numpy_helper.from_array(np.array(numbers, np.float32), f"{name}_by")
                yield helper.make_node(operator, [value, constant.name], [name]), (constant,)
                value = name


AS_IT_IS = Output()
"""The network's output is the command."""
