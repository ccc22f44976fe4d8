"""Speed and error of int8 against float32, quantised by ONNX Runtime. `make bench` runs it.

Euler, 10 steps, 3 × 256, batch 1, one thread, medians of one interleaved run; the error is on unit scale, over
rows outside the calibration. There is no target; docs/decisions.md records the conclusion.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from rich.console import Console
from rich.table import Table

from odeploy_export.graphs.flow import SplitFlow
from odeploy_export.graphs.tracing import trace_graph
from odeploy_runtime.inference.onnx_policy import open_session
from odeploy_runtime.realtime.machine import machine_line
from odeploy_runtime.reports.interleaved_timing import interleaved
from odeploy_runtime.signals import half_ranges
from odeploy_sim.catalogue.mazes import MAZE_MEDIUM
from odeploy_train.modules.ode import EULER, uniform_grid
from tests.policies import flow_policy, recorded
from tests.timing.bound_call import bound_call

ROUNDS, CALIBRATION, ROWS = 100, 128, 256


class Recorded(CalibrationDataReader):  # type: ignore[misc]
    """Calibration rows, one at a time."""

    def __init__(self, rows: Iterator[dict[str, np.ndarray]]) -> None:
        self._rows = rows

    def get_next(self) -> dict[str, np.ndarray] | None:
        """Return the next row, or None."""
        return next(self._rows, None)


@pytest.mark.timing
def test_int8_has_an_error_and_its_speed_is_printed(tmp_path: Path) -> None:
    policy, plain = flow_policy(MAZE_MEDIUM, width=256), tmp_path / "plain.onnx"
    files = {"float32": plain, "int8, QDQ": tmp_path / "qdq.onnx", "int8, QOperator": tmp_path / "qop.onnx"}
    onnx.save(trace_graph(SplitFlow(policy, EULER, uniform_grid(10)), 6, (1, 1, 2)), plain)
    observation = recorded(MAZE_MEDIUM, rows=CALIBRATION + ROWS)
    noise = np.random.default_rng(0).normal(size=(len(observation), 1, 1, 2)).astype(np.float32)
    rows = [{"observation": observation[i : i + 1], "noise": noise[i : i + 1]} for i in range(len(observation))]
    quant_pre_process(str(plain), str(tmp_path / "ready.onnx"))
    for name, form in (("int8, QDQ", QuantFormat.QDQ), ("int8, QOperator", QuantFormat.QOperator)):
        calibration = Recorded(iter(rows[:CALIBRATION]))
        quantize_static(tmp_path / "ready.onnx", files[name], calibration, form, per_channel=True)

    durations = interleaved({name: bound_call(onnx.load(file)) for name, file in files.items()}, ROUNDS)
    table = Table("", "p50 µs", "max error", title=f"Euler × 10, 3 × 256, {machine_line()}")
    reference, scale, errors = None, half_ranges(MAZE_MEDIUM.action), {}
    for name, file in files.items():
        session = open_session(file.read_bytes(), "cpu", name)
        got = np.concatenate([session.run(["action"], row)[0] for row in rows[CALIBRATION:]]).reshape(ROWS, -1)
        reference = got if reference is None else reference
        errors[name] = float((np.abs(got - reference) / scale).max())
        table.add_row(name, f"{np.median(durations[name]) / 1e3:.1f}", f"{errors[name]:.2g}")
    Console(width=110).print(table)
    assert errors.pop("float32") == 0 < min(errors.values())
