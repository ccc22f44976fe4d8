"""The parity gate: what the graph computes is what the trained policy computes, or no file is written.

torch in float64 and in float32 against ONNX Runtime, on recorded, random and edge observations, at several
batch sizes. Errors are on unit scale: half of each action's range counts as 1. A recurrent policy's rows are one
sequence, from a zero state.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
import onnxruntime as ort
import torch
from numpy.typing import NDArray
from torch import Tensor

from odeploy_export.graphs.best_of_n import OUTPUTS, Choosing
from odeploy_export.graphs.real_time_chunking import FROZEN, PREVIOUS
from odeploy_export.graphs.recurrent import STATE_IN
from odeploy_export.parity.candidates import Chosen, Proposals, measure_choice
from odeploy_export.parity.chunks import measure_continuations
from odeploy_export.parity.deviation import ROUNDING, TOLERANCE, allowance, column_names, worst_deviation
from odeploy_export.parity.sequences import measure_sequences, played, run_sequences
from odeploy_runtime.policy_file.manifest import Noise, Parity, Sampler
from odeploy_runtime.signals import Signal, half_ranges
from odeploy_train.modules.ode import solver
from odeploy_train.policies.best_of_diffusion import BestOfDiffusion
from odeploy_train.policies.diffusion import DiffusionPolicy
from odeploy_train.policies.flow import FlowPolicy
from odeploy_train.policies.recurrent import RecurrentPolicy

BATCHES = (1, 3, 8)
_RANDOM_ROWS = 64
EDGE_STDS = (-10.0, -5.0, 0.0, 5.0, 10.0)

Array = NDArray[np.float32]
Reference = Callable[[Array, Array], NDArray[np.float64]]


class Deterministic(Protocol):
    """A policy of one pass, a torch module: raw observations to actions in robot units, within their limits.

    Attributes:
        observation_mean, observation_std: of the observations that it knows. Shape (O,).
    """

    observation_mean: Tensor
    observation_std: Tensor

    def __call__(self, observation: Tensor) -> Tensor:
        """Shapes (B, O) -> (B, D): H actions of A numbers, one after the other."""

    def to(self, dtype: torch.dtype) -> Self:
        """Changes the numbers that it computes with."""

    def eval(self) -> Self:
        """As it is in use, not in training."""


Exportable = FlowPolicy | DiffusionPolicy | Choosing | RecurrentPolicy | Deterministic


def held(policy: Exportable, candidates: int) -> Exportable:
    """What a file of so many candidates holds of a policy: from one there is nothing to choose, so no critics."""
    return policy.proposer if isinstance(policy, Choosing) and candidates == 1 else policy


@dataclass(frozen=True)
class Rows:
    """Inputs that the gate compares on.

    Attributes:
        observation: Shape (M, O).
        noise: Shape (M, N, S, D); empty for an mlp.
    """

    observation: Array
    noise: Array

    def __len__(self) -> int:
        return len(self.observation)


def gate_rows(
    policy: Exportable,
    recorded: Array,
    noise: Noise,
    seed: int = 0,
    edge_stds: Sequence[float] = EDGE_STDS,
) -> Rows:
    """Recorded observations first, then random ones at three times their spread, then edges.

    An edge row has every signal at the same multiple of its standard deviation, up to ten.
    """
    rng = np.random.default_rng(seed)
    mean, std = policy.observation_mean.numpy(), policy.observation_std.numpy()
    random = mean + 3 * std * rng.standard_normal((_RANDOM_ROWS, len(mean)))
    edges = [mean + k * std for k in edge_stds]
    observation = np.concatenate([recorded, random, edges]).astype(np.float32)
    shape = (len(observation), *noise.shape)
    draws = rng.standard_normal(shape, np.float32) if noise.mode == "normal" else np.zeros(shape, np.float32)
    return Rows(observation, draws)


def reference(policy: Exportable, sampler: Sampler | None, dtype: torch.dtype) -> Reference:
    """The trained policy as a function of (observation, noise) to actions (M, D), computed in `dtype`.

    For a recurrent one the rows are a sequence, from a zero state.
    """
    if isinstance(policy, RecurrentPolicy):
        return _sequence(policy, dtype)
    policy = copy.deepcopy(policy).to(dtype).eval()

    @torch.no_grad()
    def act(observation: Array, noise: Array) -> NDArray[np.float64]:
        o = torch.from_numpy(observation).to(dtype)
        if not isinstance(policy, FlowPolicy | DiffusionPolicy | Choosing):
            return policy(o).double().numpy()
        assert sampler is not None
        draws = torch.from_numpy(noise).to(dtype)
        if isinstance(policy, DiffusionPolicy):
            return policy.sample(o, draws[:, 0], sampler.t_grid).double().numpy()
        if isinstance(policy, BestOfDiffusion):
            return policy.sample(o, draws, sampler.t_grid).action.double().numpy()
        tableau, t_grid = solver(sampler.solver), sampler.t_grid
        if isinstance(policy, FlowPolicy):
            return policy.sample(o, draws[:, 0, 0], tableau, t_grid).double().numpy()
        return policy.sample(o, draws[:, :, 0], tableau, t_grid).action.double().numpy()

    return act


def _sequence(policy: RecurrentPolicy, dtype: torch.dtype) -> Reference:
    A = policy.config.action_size
    return lambda observation, _noise: played(policy, observation[None], dtype)[0, :, :A]


@torch.no_grad()
def proposals(policy: Choosing, sampler: Sampler, rows: Rows, dtype: torch.dtype) -> Proposals:
    """All candidates of a policy that chooses, computed in `dtype`."""
    policy = copy.deepcopy(policy).to(dtype).eval()
    o, draws = (torch.from_numpy(values).to(dtype) for values in (rows.observation, rows.noise))
    if isinstance(policy, BestOfDiffusion):
        actions, values = policy.propose(o, draws, sampler.t_grid)
    else:
        actions, values = policy.propose(o, draws[:, :, 0], solver(sampler.solver), sampler.t_grid)
    return Proposals(actions.double().numpy(), values.double().numpy())


def measure(
    session: ort.InferenceSession,
    policy: Exportable,
    sampler: Sampler | None,
    rows: Rows,
    actions: tuple[Signal, ...],
    where: str,
    tolerance: float = TOLERANCE,
    rounding: float = ROUNDING,
) -> Parity:
    """Compares all rows at all batch sizes.

    What was allowed is in the answer: the tolerance, or `rounding` times torch's own float32 error where that is
    more, see `allowance`.

    Raises:
        ParityError: an error beyond the tolerance; the message names the worst row and signal.
    """
    horizon = session.get_outputs()[0].shape[1]
    scale, names = np.tile(half_ranges(actions), horizon), column_names(actions, horizon)
    dtypes, provider = (torch.float64, torch.float32), session.get_providers()[0]
    if isinstance(policy, Choosing):
        assert sampler is not None
        candidates = [proposals(policy, sampler, rows, dtype) for dtype in dtypes]
        tolerance = allowance([c.actions for c in candidates], scale, tolerance, rounding)

        def run(noise: Array, batch: int) -> Chosen:
            action, value, index = _run(session, Rows(rows.observation, noise), batch, OUTPUTS)
            return Chosen(action.reshape(len(rows), -1).astype(np.float64), value.astype(np.float64), index)

        worst, ties = measure_choice(run, candidates, rows.noise, BATCHES, scale, names, tolerance, where)
        return Parity(provider, worst, tolerance, len(rows), BATCHES, ties)
    if isinstance(policy, FlowPolicy) and any(i.name == PREVIOUS for i in session.get_inputs()):
        assert sampler is not None
        o, noise = rows.observation, rows.noise
        worst = measure_continuations(session, policy, sampler, o, noise, BATCHES, scale, names, tolerance, where)
        return Parity(provider, worst, tolerance, len(rows), BATCHES)
    if isinstance(policy, RecurrentPolicy):
        worst = measure_sequences(session, policy, rows.observation, BATCHES, scale, names, tolerance, where)
        return Parity(provider, worst, tolerance, len(rows), BATCHES)
    wanted = [reference(policy, sampler, dtype)(rows.observation, rows.noise) for dtype in dtypes]
    tolerance = allowance(wanted, scale, tolerance, rounding)
    worst = max(
        worst_deviation(
            run_in_batches(session, rows, batch), wanted, scale, names, tolerance, where, f"at batch {batch}"
        )
        for batch in BATCHES
    )
    return Parity(provider, worst, tolerance, len(rows), BATCHES)


def run_in_batches(session: ort.InferenceSession, rows: Rows, batch: int) -> NDArray[np.float64]:
    """The graph's actions for all rows; a recurrent graph takes one after the other. Shape (M, D)."""
    if any(i.name == STATE_IN for i in session.get_inputs()):
        action_size = session.get_outputs()[0].shape[2]
        return run_sequences(session, rows.observation[None])[0, :, :action_size]
    (action,) = _run(session, rows, batch, ("action",))
    joined: NDArray[np.float64] = action.reshape(len(rows), -1).astype(np.float64)
    return joined


def _run(session: ort.InferenceSession, rows: Rows, batch: int, outputs: Sequence[str]) -> list[NDArray[Any]]:
    wanted = {i.name: i.shape[1:] for i in session.get_inputs()}
    parts = []
    for start in range(0, len(rows), batch):
        part = slice(start, start + batch)
        feed = {"observation": rows.observation[part], "noise": rows.noise[part]}
        # What goes on from a chunk before is asked without one.
        feed |= {
            k: np.zeros((len(feed["noise"]), *wanted[k]), np.float32) for k in (PREVIOUS, FROZEN) if k in wanted
        }
        parts.append(session.run(outputs, {k: v for k, v in feed.items() if k in wanted}))
    return [np.concatenate(output) for output in zip(*parts, strict=True)]
