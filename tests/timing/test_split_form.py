"""The split form against the generic unrolls: ratios of medians of one interleaved run. `make bench` runs it.

Euler, 10 steps, 3 × 256, batch 1, dynamic batch, one thread. Targets: at most 0.70 × the unroll that builds its
times with `full`, and 0.85 × the one with constant times.
"""

import numpy as np
import pytest
from rich.console import Console
from rich.table import Table

from odeploy_export.graphs.flow import SplitFlow
from odeploy_export.graphs.tracing import trace_graph
from odeploy_runtime.realtime.machine import machine_line
from odeploy_runtime.reports.interleaved_timing import interleaved
from odeploy_sim.catalogue.mazes import MAZE_MEDIUM
from odeploy_train.modules.ode import EULER, uniform_grid
from tests.generic_unroll import GenericUnroll
from tests.policies import flow_policy
from tests.timing.bound_call import bound_call

STEPS, ROUNDS = 10, 400


@pytest.mark.timing
def test_the_split_form_is_faster_than_both_generic_unrolls() -> None:
    policy, grid = flow_policy(MAZE_MEDIUM, width=256), uniform_grid(STEPS)
    graphs = {
        "generic, t by full": GenericUnroll(policy, EULER, grid, constant_time=False),
        "generic, constant t": GenericUnroll(policy, EULER, grid, constant_time=True),
        "split": SplitFlow(policy, EULER, grid),
    }
    durations = interleaved(
        {name: bound_call(trace_graph(graph, 6, (1, 1, 2))) for name, graph in graphs.items()}, ROUNDS
    )
    p50 = {name: float(np.median(times)) for name, times in durations.items()}
    table = Table(
        "graph", "p50 µs", "p99 µs", "÷ full", "÷ constant", title=f"Euler × {STEPS}, 3 × 256, {machine_line()}"
    )
    for name, times in durations.items():
        full, constant = p50["generic, t by full"], p50["generic, constant t"]
        ratios = f"{p50[name] / full:.3f}", f"{p50[name] / constant:.3f}"
        table.add_row(name, f"{p50[name] / 1e3:.1f}", f"{np.percentile(times, 99) / 1e3:.1f}", *ratios)
    Console(width=110).print(table)
    assert p50["split"] < p50["generic, constant t"] < p50["generic, t by full"]
