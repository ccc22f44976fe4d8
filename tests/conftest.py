"""`--reliability PAGE`: write the results of the fault tests of this run; see tests/faults/fault_table.py."""

import contextlib
import functools
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from odeploy_runtime.atomic_file import write_whole
from odeploy_runtime.realtime.machine import machine_line
from tests.faults.fault_table import FAULTS, Observed, page

_ROWS = "fault rows"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--reliability PAGE`."""
    parser.addoption("--reliability", metavar="PAGE", help="run only the fault tests, and write this page")


def pytest_configure(config: pytest.Config) -> None:
    """With `--reliability`, observe the reports, in the one process that receives all of them."""
    out = config.getoption("--reliability")
    if out is not None and not hasattr(config, "workerinput"):
        config.pluginmanager.register(_Observer(Path(out)))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Add each test's rows to its report; with `--reliability`, deselect the other tests."""
    for item in items:
        for mark in item.iter_markers("fault"):
            unknown = set(mark.args) - set(FAULTS)
            if unknown:
                raise pytest.UsageError(f"{item.nodeid}: tests/faults/fault_table.py has no {sorted(unknown)}")
            item.user_properties.append((_ROWS, mark.args))
    if config.getoption("--reliability") is not None:
        items[:] = [item for item in items if item.get_closest_marker("fault")]


class _Observer:
    def __init__(self, out: Path) -> None:
        self._out = out
        self._observed: dict[int, Observed] = defaultdict(Observed)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.skipped or (report.passed and report.when != "call"):
            return
        properties: list[tuple[str, Any]] = report.user_properties
        figures = [(name, value) for name, value in properties if name != _ROWS]
        for name, rows in properties:
            for row in rows if name == _ROWS else ():
                self._observed[row].add(report.nodeid.split("::")[-1], report.passed, figures)

    def pytest_sessionfinish(self) -> None:
        write_whole(self._out, page(self._observed, machine_line()).encode())


def pytest_collection_finish() -> None:
    """Share torch's table of operators: each export builds its own, in one of its two and a half seconds."""
    if "odeploy_export.graphs.tracing" not in sys.modules:
        return
    with contextlib.suppress(ImportError, AttributeError):  # another torch may have it elsewhere
        from torch.onnx._internal.exporter._registration import ONNXRegistry

        shared = functools.cache(ONNXRegistry.from_torchlib)
        ONNXRegistry.from_torchlib = staticmethod(shared)  # type: ignore[method-assign]
