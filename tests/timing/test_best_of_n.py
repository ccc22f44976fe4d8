"""Best of 16 against its bare matrix products, in one interleaved run. `make bench` runs it.

Euler, 10 steps, 3 × 256, twin Q 2 × 256, one thread. 22 products of 16 × 256 × 256 are 46 of its 47 MFLOP. The
difference is activations, narrow products and the selection. Target for the whole: 500 µs.
"""

import time
from collections.abc import Callable

import numpy as np
import pytest
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from odeploy_export.graphs.best_of_n import OUTPUTS
from odeploy_export.graphs.rewrites import name_outputs
from odeploy_export.graphs.tracing import trace_graph
from odeploy_runtime.inference.onnx_policy import open_session
from odeploy_runtime.realtime.machine import machine_line
from odeploy_sim.catalogue.mazes import MAZE_MEDIUM
from odeploy_train.modules.ode import EULER, uniform_grid
from tests.best_of_n import best_of_n
from tests.exports import best_of_n_graph

N, WIDTH, PRODUCTS, ROUNDS, CALLS = 16, 256, 22, 80, 5
FLOP = PRODUCTS * 2 * N * WIDTH * WIDTH


class Products(nn.Module):
    """Linear layers without activations."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(*(nn.Linear(WIDTH, WIDTH) for _ in range(PRODUCTS)))

    def forward(self, observation: Tensor) -> Tensor:
        """Shape (N, WIDTH)."""
        rows: Tensor = self.layers(observation)
        return rows


@pytest.mark.timing
def test_best_of_16_takes_less_than_twice_its_matrix_products() -> None:
    graph = best_of_n_graph(best_of_n(MAZE_MEDIUM, WIDTH), EULER, uniform_grid(10), N)
    model = trace_graph(graph, 6, (N, 1, 2))
    name_outputs(model, OUTPUTS)
    rng = np.random.default_rng(0)
    calls = {
        "best of 16": call(
            model.SerializeToString(),
            {"observation": np.ones((1, 6), np.float32), "noise": rng.standard_normal((1, N, 1, 2), np.float32)},
        ),
        "its products": call(
            trace_graph(Products(), WIDTH, (0, 0, 0)).SerializeToString(),
            {"observation": rng.standard_normal((N, WIDTH), np.float32)},
        ),
    }
    durations: dict[str, list[int]] = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, run in calls.items():
            run()
            for _ in range(CALLS):
                start_ns = time.perf_counter_ns()
                run()
                durations[name].append(time.perf_counter_ns() - start_ns)
    table = Table("", "least µs", "p50 µs", "p90 µs", "GFLOP/s at best", title=machine_line())
    for name, times in durations.items():
        columns = (f"{np.percentile(times, q) / 1e3:.0f}" for q in (0, 50, 90))
        table.add_row(name, *columns, f"{FLOP / min(times):.0f}")
    Console(width=110).print(table)
    assert 1 < min(durations["best of 16"]) / min(durations["its products"]) < 2  # a busy machine doubles medians


def call(data: bytes, feed: dict[str, np.ndarray]) -> Callable[[], object]:
    """Return one call of a session set up as in the runtime for N rows."""
    session = open_session(data, "cpu", "graph", rows=N)
    return lambda: session.run(None, feed)
