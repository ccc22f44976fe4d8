"""A flow whose chunk continues the previous one, written node by node.

`observation` (B, O), `noise` (B, 1, 1, D), `previous` (B, H, A), `frozen` (B, H) → `action` (B, H, A). It computes
`policies/chunk_guidance.py`. There autograd multiplies with the transposed Jacobian. Here each layer of the
velocity network has its own product: the transposed weights, and between them silu'(z) = σ(z) + silu(z) (1 -
σ(z)).

The observation's product is computed once, the time's is a constant of each evaluation, and steps share weights,
as in `graphs/flow.py`. The gradient would have to undo the folding of scales there, so x stays on unit scale here.
"""

import math
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from torch import Tensor

from odeploy_export.graphs.assembly import assemble, batched
from odeploy_export.graphs.weights import linears
from odeploy_runtime.errors import UsageError
from odeploy_train.modules.networks import time_embedding
from odeploy_train.modules.ode import Tableau, integrate
from odeploy_train.policies.chunk_guidance import strength
from odeploy_train.policies.flow import FlowPolicy

PREVIOUS, FROZEN = "previous", "frozen"


class _Nodes:
    """Graph under construction; values are named by their outputs."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: dict[str, onnx.TensorProto] = {}

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Append a node and return the name of its output."""
        output = f"{operator.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def weight(self, name: str, values: Tensor | NDArray[Any] | Sequence[float]) -> str:
        """Add a constant and return its name; floats become float32."""
        array = np.asarray(values.detach().double() if isinstance(values, Tensor) else values)
        kept = array if array.dtype == np.int64 else array.astype(np.float32)
        self.weights[name] = numpy_helper.from_array(np.ascontiguousarray(kept), name)
        return name

    def number(self, value: float) -> str:
        """Add a constant of one number and return its name."""
        return self.weight(f"number {value!r}", [value])


def real_time_chunk_graph(policy: FlowPolicy, tableau: Tableau, t_grid: Sequence[float]) -> onnx.ModelProto:
    """Return the checked graph of a policy in float32."""
    H, A, D = policy.config.horizon, policy.config.action_size, policy.config.chunk_size
    new = _Nodes()
    flat = new.weight("flat", np.array([-1, D]))
    mean, std = new.weight("action.mean", policy.action_mean), new.weight("action.std", policy.action_std)
    before = new.add("Reshape", PREVIOUS, flat)
    wanted = new.add("Div", new.add("Sub", before, mean), std)
    each = new.add("Unsqueeze", FROZEN, new.weight("last axis", np.array([2])))
    spread = new.add("Mul", each, new.weight("all signals", np.ones((1, 1, A))))
    field = _Field(new, policy, wanted, new.add("Reshape", spread, flat))

    def advance(x: str, slope: str, scale: float) -> str:
        return new.add("Add", x, new.add("Mul", slope, new.number(scale)))

    # The loop that trains and samples also writes the graph: names stand for tensors.
    loop = cast(Any, integrate)
    x = loop(field, new.add("Reshape", "noise", flat), tableau, t_grid, advance)
    drawn = new.add("Add", new.add("Mul", x, std), mean)
    is_frozen = new.add("Equal", field.weight, new.number(1.0))
    action = new.add("Where", is_frozen, before, drawn)
    for operator, name, limit in (("Max", "low", policy.low), ("Min", "high", policy.high)):
        action = new.add(operator, action, new.weight(name, limit))
    new.nodes.append(helper.make_node("Reshape", [action, new.weight("chunk", np.array([-1, H, A]))], ["action"]))
    inputs = [
        batched("observation", policy.config.observation_size),
        batched("noise", 1, 1, D),
        batched(PREVIOUS, H, A),
        batched(FROZEN, H),
    ]
    return assemble(new.nodes, inputs, [batched("action", H, A)], new.weights.values())


class _Field:
    """Guided velocity at (t, x); `weight` and `wanted` have shape (B, D)."""

    def __init__(self, new: _Nodes, policy: FlowPolicy, wanted: str, weight: str) -> None:
        self._new, self._wanted, self.weight = new, wanted, weight
        net, O, D = policy.velocity, policy.config.observation_size, policy.config.chunk_size  # noqa: E741
        W = net.first.weight.detach().double()
        W_o, W_x, self._W_t = W[:, :O], W[:, O : O + D], W[:, O + D :]
        self._features = net.time_features
        self._observation = _observation_part(new, policy, W_o, net.first.bias)
        self._first = new.weight("first.weight", W_x.T)
        self._hidden = [
            (new.weight(f"hidden.{i}.weight", layer.weight.T), new.weight(f"hidden.{i}.bias", layer.bias))
            for i, layer in enumerate(linears(net.hidden))
        ]
        # By rows: a narrow weight by columns leaves ONNX Runtime's vector kernel (graphs/rewrites.py).
        self._last = new.weight("last.weight", net.last.weight), new.weight("last.bias", net.last.bias)

    def __call__(self, t: float, x: str) -> str:
        new = self._new
        v, slopes = self._velocity(t, x)
        end = new.add("Add", x, new.add("Mul", v, new.number(1 - t)))
        error = new.add("Mul", self.weight, new.add("Sub", self._wanted, end))
        g = new.add("Mul", new.add("Gemm", error, self._last[0], alpha=1 - t), slopes.pop())
        for weight, _ in reversed(self._hidden):
            g = new.add("Mul", new.add("Gemm", g, weight, transB=1), slopes.pop())
        pull = new.add("Gemm", g, self._first, error, transB=1)
        return new.add("Add", v, new.add("Mul", pull, new.number(strength(t))))

    def _velocity(self, t: float, x: str) -> tuple[str, list[str]]:
        """Return v, and silu'(z) of each hidden layer."""
        new, slopes = self._new, []
        time = time_embedding(torch.tensor([t], dtype=torch.float64), self._features)[0]
        start = new.add("Add", self._observation, new.weight(f"time {t!r}", self._W_t @ time))
        z = new.add("Gemm", x, self._first, start)
        for weight, bias in (*self._hidden, self._last):
            gate = new.add("Sigmoid", z)
            h = new.add("Mul", z, gate)
            rest = new.add("Sub", new.number(1.0), gate)
            slopes.append(new.add("Add", gate, new.add("Mul", h, rest)))
            z = new.add("Gemm", h, weight, bias, transB=int(weight == self._last[0]))
        return z, slopes


def continuable(policy: object, frozen: int) -> FlowPolicy:
    """Return the policy if it can continue a chunk with d actions frozen.

    Raises:
        UsageError: not a flow with action chunks, one that ends in tanh, or more frozen actions than a chunk has.
    """
    if not isinstance(policy, FlowPolicy) or policy.config.horizon == 1 or policy.config.squash:
        raise UsageError(
            where="--frozen",
            expected="a flow policy with action chunks and without tanh at its end",
            got="another policy",
            remedy="leave the option out, or train with `odeploy train fm-bc --horizon H`",
        )
    if not 0 <= frozen < policy.config.horizon:
        raise UsageError(
            where="--frozen",
            expected=f"0 to {policy.config.horizon - 1} for a chunk of {policy.config.horizon} actions",
            got=str(frozen),
            remedy="give the number of ticks until an answer arrives",
        )
    return policy


def _observation_part(new: _Nodes, policy: FlowPolicy, weight: Tensor, bias: Tensor) -> str:
    """Return W_o o + b.

    The normaliser is folded into the weight, or stands in front if it clips.
    """
    mean, std = policy.observation_mean.double(), policy.observation_std.double()
    observation = "observation"
    if math.isfinite(policy.clip):
        unit = new.add("Sub", observation, new.weight("observation.mean", mean))
        unit = new.add("Div", unit, new.weight("observation.std", std))
        unit = new.add("Max", unit, new.number(-policy.clip))
        observation = new.add("Min", unit, new.number(policy.clip))
    else:
        weight = weight / std
        bias = bias.detach().double() - weight @ mean
    return new.add("Gemm", observation, new.weight("observation.weight", weight.T), new.weight("first.bias", bias))
