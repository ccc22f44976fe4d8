"""A graph as a call with bound buffers, for the speed benches."""

import numpy as np
import onnx

from odeploy_runtime.inference.onnx_policy import open_session
from odeploy_runtime.reports.interleaved_timing import Call


def bound_call(model: onnx.ModelProto, candidates: int = 1) -> Call:
    """Return one call of a graph with buffers bound as in the runtime; input sizes are the graph's."""
    session = open_session(model.SerializeToString(), "cpu", "graph", rows=candidates)
    binding = session.io_binding()
    buffers = {i.name: np.ones((1, *i.shape[1:]), np.float32) for i in session.get_inputs()}
    kinds = {"tensor(float)": np.float32, "tensor(int64)": np.int64}
    answers = {o.name: np.zeros((1, *o.shape[1:]), kinds[o.type]) for o in session.get_outputs()}
    for bind, arrays in ((binding.bind_input, buffers), (binding.bind_output, answers)):
        for name, array in arrays.items():
            bind(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)

    def call() -> None:
        session.run_with_iobinding(binding)
        assert buffers  # keeps the memory that the binding points to
        assert answers

    return call
