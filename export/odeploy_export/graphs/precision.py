"""A graph in half precision, for GPUs: weights and products in fp16, inputs and outputs in float32 as ever.

Such a file has a tolerance of its own. What fp16 costs is measured by the gate like everything else; ONNX Runtime
on a CPU computes most of these operators by casting, so there the file is no faster, but as wrong.
"""

import contextlib
import io
from typing import Literal

import onnx

from odeploy_export.parity.gate import TOLERANCE

Precision = Literal["f32", "fp16"]
TOLERANCES: dict[Precision, float] = {"f32": TOLERANCE, "fp16": 1e-2}
"""Largest error on unit-scale actions, if the user names none."""
_IN_FLOAT32 = ["Clip"]  # a limit rounded to fp16 is another limit


def in_precision(model: onnx.ModelProto, precision: Precision) -> onnx.ModelProto:
    """The same graph with its float32 weights and operators in another precision."""
    if precision == "f32":
        return model
    # The converter's package prints advice about tools that have nothing to do with it.
    with contextlib.redirect_stdout(io.StringIO()):
        from onnxruntime.transformers.float16 import convert_float_to_float16
        from onnxruntime.transformers.onnx_model import OnnxModel
    half = onnx.ModelProto()
    half.CopyFrom(model)  # the converter changes what it is given
    half.CopyFrom(convert_float_to_float16(half, keep_io_types=True, op_block_list=_IN_FLOAT32))
    OnnxModel(half).topological_sort()  # it leaves the inputs' casts at the end
    del half.graph.value_info[:]
    onnx.checker.check_model(half, full_check=True)
    return half
