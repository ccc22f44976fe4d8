"""A flow's file against torch, against its lower bound, and with candidates. `make bench` runs it.

Euler, 10 steps, 3 × 256, batch 1, one thread, medians of one interleaved run. Targets: at most 0.12 × torch eager,
0.35 × torch.compile, 2.5 × the lower bound; best of 16 with twin critics 2 × 256 within 0.5 ms.

The lower bound reads and multiplies every weight of the ten steps once, at the rate of a chain of bare
matrix-vector products in the same rounds: 20 of 256 × 256 through two weights in turn, by the same kernel (a BLAS
would use several threads). It leaves out SiLU.
"""

import shutil

import numpy as np
import pytest
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from odeploy_export.graphs.flow import SplitFlow
from odeploy_export.graphs.tracing import trace_graph
from odeploy_runtime.realtime.machine import machine_line
from odeploy_runtime.reports.interleaved_timing import Call, interleaved
from odeploy_sim.catalogue.mazes import MAZE_MEDIUM
from odeploy_train.modules.ode import EULER, uniform_grid
from odeploy_train.policies.flow import FlowPolicy
from tests.best_of_n import best_of_n
from tests.exports import best_of_n_graph
from tests.generic_unroll import GenericUnroll
from tests.policies import flow_policy
from tests.timing.bound_call import bound_call

STEPS, WIDTH, CANDIDATES, ROUNDS = 10, 256, 16, 200
GEMVS = 20  # hidden products of ten steps, through two weights in turn


@pytest.mark.timing
@pytest.mark.timeout(600)
def test_the_file_is_faster_than_eager_torch_and_slower_than_its_lower_bound() -> None:
    torch.set_num_threads(1)
    policy, grid = flow_policy(MAZE_MEDIUM, width=WIDTH), uniform_grid(STEPS)
    calls: dict[str, Call] = {
        "split": bound_call(trace_graph(SplitFlow(policy, EULER, grid), 6, (1, 1, 2))),
        "torch eager": torch_call(GenericUnroll(policy, EULER, grid, constant_time=True)),
        "gemv": bound_call(trace_graph(Gemvs(), WIDTH, (0, 0, 0))),
    }
    if shutil.which("g++"):  # torch.compile writes C++ for a CPU
        calls["torch.compile"] = torch_call(
            torch.compile(GenericUnroll(policy, EULER, grid, constant_time=True), dynamic=False)  # type: ignore[arg-type]
        )
    durations = interleaved(calls, ROUNDS)
    p50 = {name: float(np.median(times)) for name, times in durations.items()}
    p50["lower bound"] = p50.pop("gemv") / (GEMVS * WIDTH * WIDTH) * weights(policy)
    table = Table("", "p50 µs", "split ÷ it", title=f"Euler × {STEPS}, 3 × {WIDTH}, {machine_line()}")
    for name, ns in p50.items():
        table.add_row(name, f"{ns / 1e3:.1f}", f"{p50['split'] / ns:.3f}")
    Console(width=110).print(table)
    assert p50["lower bound"] < p50["split"] < p50["torch eager"]


@pytest.mark.timing
def test_sixteen_candidates_cost_less_than_sixteen_calls() -> None:
    policy, grid = best_of_n(MAZE_MEDIUM, width=WIDTH), uniform_grid(STEPS)
    graph = best_of_n_graph(policy, EULER, grid, CANDIDATES)
    calls = {
        "one": bound_call(trace_graph(SplitFlow(policy.flow, EULER, grid), 6, (1, 1, 2))),
        f"best of {CANDIDATES}": bound_call(trace_graph(graph, 6, (CANDIDATES, 1, 2)), CANDIDATES),
    }
    table = Table("", "p50 µs", "p99 µs", title=f"Euler × {STEPS}, 3 × {WIDTH}, twin Q, {machine_line()}")
    durations = interleaved(calls, ROUNDS)
    for name, times in durations.items():
        table.add_row(name, f"{np.median(times) / 1e3:.1f}", f"{np.percentile(times, 99) / 1e3:.1f}")
    Console(width=110).print(table)
    one, best = (float(np.median(times)) for times in durations.values())
    assert one < best < CANDIDATES * one


def torch_call(module: nn.Module) -> Call:
    """Return one call of eager or compiled torch: tensors in, tensor out, no gradient."""
    observation, noise = torch.ones(1, 6), torch.ones(1, 1, 1, 2)

    def call() -> None:
        with torch.inference_mode():
            module(observation, noise)

    call()  # compiles a compiled module
    return call


class Gemvs(nn.Module):
    """Only the hidden products of all steps. Shape (B, W) -> (B, W)."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.ParameterList(torch.randn(WIDTH, WIDTH) / WIDTH**0.5 for _ in range(2))
        self.bias = nn.Parameter(torch.zeros(WIDTH))

    def forward(self, observation: Tensor) -> Tensor:
        for i in range(GEMVS):
            observation = torch.addmm(self.bias, observation, self.weight[i % 2])
        return observation


def weights(policy: FlowPolicy) -> int:
    """Return the number of multiplications: the observation's once, all others in each step."""
    O, D = policy.config.observation_size, policy.config.action_size  # noqa: E741
    hidden = (policy.config.depth - 1) * WIDTH * WIDTH
    return O * WIDTH + STEPS * ((D + 1) * WIDTH + hidden + WIDTH * (D + 1))
