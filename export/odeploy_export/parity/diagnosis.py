"""What a graph computes instead of its policy: the faults that are easily made, tried one after the other.

The gate knows that two functions differ. Each fault here is a third function, the policy with that fault; the
one with which the graph agrees is what happened.
"""

import copy
import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
import onnx
import onnxruntime as ort
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import Tensor, nn

from odeploy_export.parity.deviation import column_names
from odeploy_export.parity.gate import Array, Exportable, Reference, Rows, reference, run_in_batches
from odeploy_runtime.errors import ParityError
from odeploy_runtime.policy_file.manifest import Sampler
from odeploy_runtime.signals import Signal, half_ranges, lows
from odeploy_train.modules.ode import SOLVERS
from odeploy_train.policies.diffusion import DiffusionPolicy
from odeploy_train.policies.flow import FlowPolicy
from odeploy_train.policies.mlp import MlpPolicy

_AGREES = 1e-4  # on unit scale: wide enough for what rounding becomes under a fault, far below what a fault does
_BATCH = 8


def explained(
    error: ParityError,
    session: ort.InferenceSession,
    policy: Exportable,
    sampler: Sampler | None,
    rows: Rows,
    actions: tuple[Signal, ...],
) -> ParityError:
    """The gate's error with the fault that explains it, or as it is where none does."""
    fault = diagnose(session, policy, sampler, rows, actions)
    if fault is None:
        return error
    return ParityError(
        where=error.where,
        expected=error.expected,
        got=f"{error.got}, as if {fault}",
        remedy="mend that in the graph, or in the policy that it is held against, and export anew",
    )


def diagnose(
    session: ort.InferenceSession,
    policy: Exportable,
    sampler: Sampler | None,
    rows: Rows,
    actions: tuple[Signal, ...],
) -> str | None:
    """Names the fault with which the policy computes what the graph does, on all rows; None if none is known.

    None also where the policy as it is agrees: a fault that changes nothing in it, such as a scale of 1 that is
    left out, would explain what rounding did.
    """
    got = run_in_batches(session, rows, _BATCH)
    horizon = got.shape[1] // len(actions)
    scale = np.tile(half_ranges(actions), horizon)
    if not np.isfinite(got).all():
        return "a weight in the graph were not finite"
    exact = reference(policy, sampler, torch.float64)(rows.observation, rows.noise)
    if (np.abs(exact - got) / scale).max() <= _AGREES:
        return None
    for fault, act in _faulty(policy, sampler, actions):
        if (np.abs(act(rows.observation, rows.noise) - got) / scale).max() <= _AGREES:
            return fault
    return _permutation(got / scale, exact / scale, column_names(actions, horizon))


def not_finite_weights(model: onnx.ModelProto) -> list[str]:
    """Names of the initialisers that hold a NaN or an infinity."""
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    return [n for n, a in arrays.items() if a.dtype.kind == "f" and not np.isfinite(a).all()]


def _faulty(
    policy: Exportable, sampler: Sampler | None, actions: tuple[Signal, ...]
) -> Iterator[tuple[str, Reference]]:
    def of(changed: Exportable, other: Sampler | None = sampler) -> Reference:
        return reference(changed, other, torch.float64)

    yield "the observation's normaliser were left out", of(_without_normaliser(policy))
    if isinstance(policy, FlowPolicy):
        assert sampler is not None
        yield (
            "time ran backwards, from t = 1 to 0",
            of(policy, dataclasses.replace(sampler, t_grid=sampler.t_grid[::-1])),
        )
        yield (
            "the velocity were taken at 1 - t: t = 1 is the action here",
            of(_with_velocity(policy, flip_time=True)),
        )
        yield (
            "the velocity had the other sign: it points from noise to action here",
            of(_with_velocity(policy, flip_sign=True)),
        )
        for name in SOLVERS:
            if name != sampler.solver:
                yield (
                    f"the solver were {name}, not {sampler.solver}",
                    of(policy, dataclasses.replace(sampler, solver=name)),
                )
    if isinstance(policy, FlowPolicy | DiffusionPolicy):
        yield "the action's scale were left out", of(_without_scale(policy))
    if isinstance(policy, FlowPolicy | DiffusionPolicy | MlpPolicy) and not _squashes(policy):
        yield "the bounds were dropped", of(_without_bounds(policy))
    if all(None not in (s.low, s.high) for s in actions):
        yield "tanh were applied twice", _squashed_again(of(policy), actions)


def _without_normaliser(policy: Exportable) -> Exportable:
    changed = copy.deepcopy(policy)
    changed.observation_mean.zero_()
    changed.observation_std.fill_(1)
    return changed


def _without_scale(policy: FlowPolicy | DiffusionPolicy) -> Exportable:
    changed = copy.deepcopy(policy)
    changed.action_mean, changed.action_std = (
        torch.zeros_like(policy.action_mean),
        torch.ones_like(policy.action_std),
    )
    return changed


def _without_bounds(policy: FlowPolicy | DiffusionPolicy | MlpPolicy) -> Exportable:
    changed = copy.deepcopy(policy)
    changed.low, changed.high = torch.full_like(policy.low, -torch.inf), torch.full_like(policy.high, torch.inf)
    return changed


def _squashes(policy: FlowPolicy | DiffusionPolicy | MlpPolicy) -> bool:
    return not isinstance(policy, DiffusionPolicy) and policy.config.squash


class _OtherVelocity(nn.Module):
    """v at 1 - t, or -v."""

    def __init__(self, inside: nn.Module, flip_time: bool, flip_sign: bool) -> None:
        super().__init__()
        self._inside, self._flip_time, self._sign = inside, flip_time, -1.0 if flip_sign else 1.0

    def forward(self, observation: Tensor, x: Tensor, t: Tensor) -> Tensor:
        velocity: Tensor = self._inside(observation, x, 1 - t if self._flip_time else t)
        return self._sign * velocity


def _with_velocity(policy: FlowPolicy, flip_time: bool = False, flip_sign: bool = False) -> FlowPolicy:
    changed = copy.deepcopy(policy)
    setattr(changed, "velocity", _OtherVelocity(changed.velocity, flip_time, flip_sign))  # noqa: B010
    return changed


def _squashed_again(act: Reference, actions: tuple[Signal, ...]) -> Reference:
    half_range = half_ranges(actions)
    middle = lows(actions) + half_range

    def again(observation: Array, noise: Array) -> NDArray[np.float64]:
        once = act(observation, noise)
        unit = (once.reshape(len(once), -1, len(actions)) - middle) / half_range
        return (middle + half_range * np.tanh(unit)).reshape(once.shape)

    return again


def _permutation(got: NDArray[np.float64], exact: NDArray[np.float64], names: Sequence[str]) -> str | None:
    """Columns of one that are columns of the other, elsewhere. Both of shape (M, D), unit scale."""
    distance = np.abs(got[:, :, None] - exact[:, None, :]).max(axis=0)
    nearest = distance.argmin(axis=1).tolist()
    if distance.min(axis=1).max() > _AGREES or sorted(nearest) != list(range(len(names))):
        return None
    moved = [f"{names[i]} held {names[k]}" for i, k in enumerate(nearest) if k != i]
    return f"the actions were permuted: {', '.join(moved)}" if moved else None
