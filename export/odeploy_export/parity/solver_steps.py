"""Parity along the ODE: the graph's state after every solver step.

A fault on the way may end within the tolerance: limits clip it, or a later step undoes it. So the very graph that
goes into the file gets its states as outputs and runs on the same provider.

The graph carries [y, 1] with y = s x + m + (1 - t) s b_l, see graphs/flow.py. Its last state is the input of the
only Slice of a Gemm. From there each step back is as many updates, Gemms chained by their third input, as the
solver has weights b other than 0. States are not clipped: on unit scale half of an action's range counts as 1, and
the state itself where it is larger.
"""

import copy
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from odeploy_export.parity.deviation import Allowed, worst_deviation
from odeploy_export.parity.rows import Rows
from odeploy_runtime.inference.onnx_policy import open_session
from odeploy_runtime.policy_file.manifest import Sampler
from odeploy_train.modules.ode import Tableau, integrate, solver
from odeploy_train.policies.flow import FlowPolicy

_BATCH = 8


def check_steps(
    model: onnx.ModelProto, flow: FlowPolicy, sampler: Sampler, rows: Rows, allowed: Allowed, provider: str = "cpu"
) -> tuple[float, ...]:
    """Compare the state after every step but the last with torch's.

    References are in float64 and in float32.

    Args:
        model: split graph of the flow, or of a best of N that draws from it.
        flow: as trained.
        sampler: of the graph.
        rows: inputs.
        allowed: scale, names and tolerance of the D actions.
        provider: execution provider, by our name.

    Returns:
        The largest deviation of all rows after each of them: K - 1 numbers.

    Raises:
        ParityError: a state beyond the tolerance; the message names the first such step, its row and signal.
    """
    if sampler.steps == 1:
        return ()
    watched, names = with_states(model, solver(sampler.solver), sampler.steps)
    candidates = rows.noise.shape[1]
    session = open_session(watched.SerializeToString(), provider, allowed.where, rows=candidates)
    parts = [
        session.run(names, {"observation": rows.observation[i : i + _BATCH], "noise": rows.noise[i : i + _BATCH]})
        for i in range(0, len(rows), _BATCH)
    ]
    D = flow.config.chunk_size
    unit = np.ones(D) if flow.config.squash else allowed.scale
    references = [reference_states(flow, sampler, rows, dtype) for dtype in (torch.float64, torch.float32)]
    worst = []
    for k, (got, *wanted) in enumerate(zip(zip(*parts, strict=True), *references, strict=True), start=1):
        size = np.maximum(unit, np.abs(wanted[0]))
        units = [w / size for w in wanted]
        limit = replace(allowed, scale=np.ones(D)).widened(units)
        at = f"after step {k} of {sampler.steps}, t = {sampler.t_grid[k]:g}"
        worst.append(worst_deviation(np.concatenate(got)[:, :D] / size, units, limit, at))
    return tuple(worst)


@torch.no_grad()
def reference_states(
    flow: FlowPolicy, sampler: Sampler, rows: Rows, dtype: torch.dtype
) -> list[NDArray[np.float64]]:
    """Return torch's y after each step but the last: K - 1 of shape (M N, D)."""
    flow = copy.deepcopy(flow).to(dtype).eval()
    tableau, N = solver(sampler.solver), rows.noise.shape[1]
    observation = torch.from_numpy(rows.observation).to(dtype).repeat_interleave(N, dim=0)
    field = flow.field(flow.normalise(observation))
    x = torch.from_numpy(rows.noise).to(dtype).reshape(len(observation), -1)
    states = []
    for span in pairwise(sampler.t_grid[:-1]):
        x = integrate(field, x, tableau, span)
        drift = (1 - span[1]) * flow.velocity.last.bias
        states.append((flow.action_std * (x + drift) + flow.action_mean).double().numpy())
    return states


def with_states(model: onnx.ModelProto, tableau: Tableau, steps: int) -> tuple[onnx.ModelProto, Sequence[str]]:
    """Return a split graph that also outputs its states, and their names.

    It is a copy, with an output after each step but the last.

    Raises:
        ValueError: the graph has another form.
    """
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    graph = watched.graph
    maker = {name: node for node in graph.node for name in node.output}
    sliced = [n.input[0] for n in graph.node if n.op_type == "Slice" and n.input[0] in maker]
    last = [name for name in sliced if maker[name].op_type == "Gemm"]
    if len(last) != 1:
        raise ValueError(f"{len(last)} slices of a Gemm instead of one, the solver's last state")
    updates = sum(b != 0 for b in tableau.b)
    chain = [last[0]]
    while len(chain) <= (steps - 1) * updates:
        chain.append(maker[chain[-1]].input[2])
    names = chain[::-1][:-1:updates]
    graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names)
    return watched, names
