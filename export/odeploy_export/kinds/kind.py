"""The records of a policy type and of a policy with its sampler."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import onnx
import onnxruntime as ort
import torch
from torch import nn

from odeploy_export.graphs.rewrites import name_outputs
from odeploy_export.graphs.tracing import trace_graph
from odeploy_export.options import SamplerOptions
from odeploy_export.parity.check import Reference, check_answers
from odeploy_export.parity.deviation import Allowed
from odeploy_export.parity.rows import Normalised, Rows, Spread, golden_picks, golden_rows
from odeploy_runtime.policy_file.manifest import GoldenRow, Noise, Parity, Sampler
from odeploy_train.modules.ode import Tableau, solver

Sampling = Callable[[Any, SamplerOptions, int], tuple[Sampler | None, Noise]]
"""(policy, options, A) -> sampler and noise contract."""


@dataclass(frozen=True)
class Deployment:
    """A policy as one file holds it.

    Attributes:
        kind: type of the policy.
        policy: network with normaliser and limits.
        sampler: how the graph gets from noise to action; None for one pass.
        noise: noise contract.
        frozen: d, first actions of a chunk that are kept from the previous one; None without real-time chunking.
    """

    kind: "Kind"
    policy: Any
    sampler: Sampler | None
    noise: Noise
    frozen: int | None = None

    @property
    def required_sampler(self) -> Sampler:
        """Sampler of a generative policy."""
        assert self.sampler is not None
        return self.sampler

    @property
    def tableau(self) -> Tableau:
        """Solver of a flow."""
        return solver(self.required_sampler.solver)

    @property
    def spread(self) -> Spread:
        """Spread of the observations that the policy was trained on."""
        return Spread.of(self.policy)

    def reference(self, dtype: torch.dtype) -> Reference:
        """Return the policy as a function of (observation, noise), computed in `dtype`."""
        return self.kind.reference(self, dtype)

    def exact_and_single(self) -> tuple[Reference, Reference]:
        """Return the references of a parity check: float64, then float32."""
        return self.reference(torch.float64), self.reference(torch.float32)


Fault = tuple[str, Deployment]
"""What would be wrong, as a clause after "as if", and the deployment with that fault."""


def one_pass(_policy: Normalised, _options: SamplerOptions, _action_size: int) -> tuple[None, Noise]:
    """Sampling of a policy without noise."""
    return None, Noise("none")


def answers(session: ort.InferenceSession, deployment: Deployment, rows: Rows, allowed: Allowed) -> Parity:
    """Compare the graph's actions with torch's in float64 and in float32."""
    return check_answers(session, deployment.exact_and_single(), rows, allowed)


def spread_evenly(deployment: Deployment, rows: Rows) -> tuple[GoldenRow, ...]:
    """Return recorded rows, spread evenly, with torch's float32 actions."""
    picks = golden_picks()
    act = deployment.reference(torch.float32)
    return golden_rows(rows, picks, act(rows.observation[picks], rows.noise[picks]))


def no_faults(_deployment: Deployment) -> Iterator[Fault]:
    """Known faults of a type that has none."""
    yield from ()


@dataclass(frozen=True)
class Kind:
    """How policies of one type are exported.

    Attributes:
        name: for messages and tables.
        policy: class of the policies.
        manifest: `kind` in the manifest.
        graph: writes the ONNX graph in float32.
        reference: the policy as a function of (observation, noise) to actions (M, D), computed in a dtype.
        options: fields of `SamplerOptions` that the type has.
        sampling: chooses sampler and noise contract.
        check: compares the graph with torch on one execution provider.
        check_steps: compares the solver's states too; None without an ODE.
        golden: rows for the file with torch's float32 actions.
        faults: the deployment with each known fault, for the diagnosis; None for none at all.
        horizon: H, actions per inference.
        clip: limit of the normalised observation; infinite for none.
        state_size: numbers that are carried from tick to tick.
        consecutive: whether rows are consecutive ticks.
        freezes: whether this type is for deployments with frozen actions.
        single: the policy that remains with one candidate: without critics there is nothing to choose.
        published: sampler options whose parity docs/reference/export.md publishes.
    """

    name: str
    policy: type[Any]
    manifest: Literal["flow", "diffusion", "mlp", "recurrent"]
    graph: Callable[[Deployment], onnx.ModelProto]
    reference: Callable[[Deployment, torch.dtype], Reference]
    options: tuple[str, ...] = ()
    sampling: Sampling = one_pass
    check: Callable[[ort.InferenceSession, Deployment, Rows, Allowed], Parity] = answers
    check_steps: Callable[[onnx.ModelProto, Deployment, Rows, Allowed, str], object] | None = None
    golden: Callable[[Deployment, Rows], tuple[GoldenRow, ...]] = spread_evenly
    faults: Callable[[Deployment], Iterator[Fault]] | None = no_faults
    horizon: Callable[[Any], int] = lambda _: 1
    clip: Callable[[Any], float] = lambda _: math.inf
    state_size: Callable[[Any], int] = lambda _: 0
    consecutive: bool = False
    freezes: bool = False
    single: Callable[[Any], Any] = lambda policy: policy
    published: tuple[SamplerOptions, ...] = (SamplerOptions(),)

    def options_of(self, **wanted: Any) -> SamplerOptions:
        """Return sampler options with those of the wanted ones that this type has."""
        return SamplerOptions(**{name: value for name, value in wanted.items() if name in self.options})


def traced(module: nn.Module, deployment: Deployment, outputs: tuple[str, ...] = ("action",)) -> onnx.ModelProto:
    """Trace a graph module of a deployment."""
    model = trace_graph(module, len(deployment.policy.observation_mean), deployment.noise.shape)
    name_outputs(model, outputs)
    return model
