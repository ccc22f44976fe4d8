"""Scale and offset from a network's own output to the robot's command."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

RAW_ACTION = "raw_action"


@dataclass(frozen=True)
class Output:
    """Command of a network's output: scale · output + offset. None stands for 1 and 0.

    Attributes:
        scale: for example 0.25 rad. Shape (A,).
        offset: for example the default pose. Shape (A,).
    """

    scale: tuple[float, ...] | None = None
    offset: tuple[float, ...] | None = None

    def commands(self, answer: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the commands of a network's outputs. Shape (..., A)."""
        scale = 1.0 if self.scale is None else np.array(self.scale)
        return answer * scale + (0.0 if self.offset is None else np.array(self.offset))

    def nodes(self, value: str) -> Iterator[tuple[onnx.NodeProto, onnx.TensorProto]]:
        """Yield the nodes that follow a graph's output, and their constants."""
        for operator, numbers in (("Mul", self.scale), ("Add", self.offset)):
            if numbers is not None:
                name = f"command_{operator.lower()}"
                constant = numpy_helper.from_array(np.array(numbers, np.float32), f"{name}_by")
                yield helper.make_node(operator, [value, constant.name], [name]), constant
                value = name


AS_IT_IS = Output()
"""The network's output is the command."""
