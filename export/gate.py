"""The parity gate: what the graph computes is what the trained policy computes, or no file is written.

torch in float64 and in float32 against ONNX Runtime, on recorded, random and edge observations, at several
batch sizes. Errors are on unit scale: half of each action's range counts as 1.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np
import onnxruntime as ort
import torch
from numpy.typing import NDArray
from torch import Tensor

from runtime.errors import ParityError
from runtime.policy_file import Noise, Parity, Sampler
from runtime.signals import Signal, half_ranges
from train.diffusion_policy import DiffusionPolicy
from train.ode import solver
from train.policies import FlowPolicy

BATCHES = (1, 3, 8)
TOLERANCE = 1e-5
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
        """Shapes (B, O) -> (B, A)."""

    def to(self, dtype: torch.dtype) -> Self:
        """Changes the numbers that it computes with."""

    def eval(self) -> Self:
        """As it is in use, not in training."""


Exportable = FlowPolicy | DiffusionPolicy | Deterministic


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
    """The trained policy as a function of (observation, noise) to actions (M, A), computed in `dtype`."""
    policy = copy.deepcopy(policy).to(dtype).eval()

    @torch.no_grad()
    def act(observation: Array, noise: Array) -> NDArray[np.float64]:
        o = torch.from_numpy(observation).to(dtype)
        if not isinstance(policy, FlowPolicy | DiffusionPolicy):
            return policy(o).double().numpy()
        assert sampler is not None
        draws = torch.from_numpy(noise).to(dtype)[:, 0]
        if isinstance(policy, DiffusionPolicy):
            return policy.sample(o, draws, sampler.t_grid).double().numpy()
        return policy.sample(o, draws[:, 0], solver(sampler.solver), sampler.t_grid).double().numpy()

    return act


def measure(
    session: ort.InferenceSession,
    policy: Exportable,
    sampler: Sampler | None,
    rows: Rows,
    actions: tuple[Signal, ...],
    where: str,
    tolerance: float = TOLERANCE,
) -> Parity:
    """Compares all rows at all batch sizes.

    Raises:
        ParityError: an error beyond the tolerance; the message names the worst row and signal.
    """
    exact = reference(policy, sampler, torch.float64)(rows.observation, rows.noise)
    single = reference(policy, sampler, torch.float32)(rows.observation, rows.noise)
    worst = 0.0
    for batch in BATCHES:
        got = run_in_batches(session, rows, batch)
        error = np.maximum(np.abs(got - exact), np.abs(got - single)) / half_ranges(actions)
        row, column = np.unravel_index(np.argmax(np.nan_to_num(error, nan=np.inf)), error.shape)
        if not error[row, column] <= tolerance:
            raise ParityError(
                where=f"{where}, row {row} at batch {batch}, signal {actions[column].name}",
                expected=f"torch and ONNX within {tolerance:g} on unit scale",
                got=f"{exact[row, column]:.7g} from torch and {got[row, column]:.7g} from ONNX",
                remedy="nothing was written; check the graph's sampler, normaliser and bounds against the policy",
            )
        worst = max(worst, float(error[row, column]))
    return Parity(session.get_providers()[0], worst, tolerance, len(rows), BATCHES)


def run_in_batches(session: ort.InferenceSession, rows: Rows, batch: int) -> NDArray[np.float64]:
    """The graph's first actions for all rows. Shape (M, A)."""
    wanted = {i.name for i in session.get_inputs()}
    outputs = []
    for start in range(0, len(rows), batch):
        part = slice(start, start + batch)
        feed = {"observation": rows.observation[part], "noise": rows.noise[part]}
        outputs.append(session.run(["action"], {k: v for k, v in feed.items() if k in wanted})[0][:, 0])
    joined: NDArray[np.float64] = np.concatenate(outputs).astype(np.float64)
    return joined
