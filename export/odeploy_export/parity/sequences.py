"""Parity of a recurrent graph, tick by tick and in whole sequences.

Tick by tick, torch and ONNX start from the same state, one that torch reached on its way. Then the graph carries
its own state along. A trained cell may amplify the rounding of its state, in torch's float32 as in ONNX Runtime's,
until no fixed tolerance fits. There the graph may deviate from float64 as far as torch's float32 does, times a
wide margin. The state lies in (-1, 1), so its unit is 1.
"""

import copy
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import onnxruntime as ort
import torch

from odeploy_export.graphs.recurrent import STATE_IN, STATE_OUT
from odeploy_export.parity.deviation import Allowed, Numbers, worst_deviation
from odeploy_export.parity.rows import Array
from odeploy_runtime.errors import ParityError
from odeploy_runtime.policy_file.manifest import Parity
from odeploy_train.policies.recurrent import RecurrentPolicy

_MARGIN = 100  # two ways to round grow apart at one pace, but not from one size; a trained cell showed 0.5 to 1.2


def check_sequences(
    session: ort.InferenceSession,
    policy: RecurrentPolicy,
    observation: Array,
    batches: Sequence[int],
    allowed: Allowed,
) -> Parity:
    """Compare torch in float64 and in float32 with the graph, at each batch size.

    Args:
        session: of the graph.
        policy: as trained.
        observation: one sequence, recorded ticks first. Shape (M, O).
        batches: batch sizes, and numbers of parallel sequences.
        allowed: scale, names and tolerance of the A actions; the tolerance applies to the state too.

    Raises:
        ParityError: a tick beyond the tolerance, or a sequence that drifts away.
    """
    A, S = policy.config.action_size, policy.config.state_size
    names = [*allowed.names, *(f"state {i}" for i in range(S))]
    allowed = replace(allowed, scale=np.append(allowed.scale, np.ones(S)), names=names)
    path = played(policy, observation[None], torch.float64)[0, :, A:]
    state = np.concatenate([np.zeros((1, S)), path[:-1]]).astype(np.float32)
    wanted = [_stepped(policy, observation, state, dtype) for dtype in (torch.float64, torch.float32)]
    worst = 0.0
    for batch in batches:
        got = _run_steps(session, observation, state, batch)
        worst = max(worst, worst_deviation(got, wanted, allowed, f"at batch {batch}"))
        # Each sequence goes once around all rows, from another start and a zero state.
        starts = [k * len(observation) // batch for k in range(batch)]
        parallel = np.stack([np.roll(observation, -start, axis=0) for start in starts])
        _require_same_path(session, policy, parallel, allowed)
    return Parity(session.get_providers()[0], worst, allowed.tolerance, len(observation), tuple(batches))


def run_sequences(session: ort.InferenceSession, observations: Array) -> Numbers:
    """Return the graph's action and state after each tick, from zero states.

    Shapes (B, T, O) -> (B, T, A + S).
    """
    size = next(i.shape[1] for i in session.get_inputs() if i.name == STATE_IN)
    state, ticks = np.zeros((len(observations), size), np.float32), []
    for observation in observations.swapaxes(0, 1):
        action, state = session.run(["action", STATE_OUT], {"observation": observation, STATE_IN: state})
        ticks.append(np.concatenate([action[:, 0], state], axis=1))
    return np.stack(ticks, axis=1).astype(np.float64)


@torch.no_grad()
def played(policy: RecurrentPolicy, observations: Array, dtype: torch.dtype) -> Numbers:
    """Return torch's action and state after each tick, computed in `dtype`.

    Shapes (B, T, O) -> (B, T, A + S).
    """
    policy = copy.deepcopy(policy).to(dtype).eval()
    unit, states = policy.unroll(torch.from_numpy(observations).to(dtype), policy.first_state(len(observations)))
    sequences: Numbers = torch.cat([policy.to_robot(unit), states], dim=2).double().numpy()
    return sequences


@torch.no_grad()
def _stepped(policy: RecurrentPolicy, observation: Array, state: Array, dtype: torch.dtype) -> Numbers:
    """Return action and next state of each row. Shapes (M, O), (M, S) -> (M, A + S)."""
    policy = copy.deepcopy(policy).to(dtype).eval()
    action, following = policy(*(torch.from_numpy(values).to(dtype) for values in (observation, state)))
    rows: Numbers = torch.cat([action, following], dim=1).double().numpy()
    return rows


def _run_steps(session: ort.InferenceSession, observation: Array, state: Array, batch: int) -> Numbers:
    parts = []
    for start in range(0, len(observation), batch):
        part = slice(start, start + batch)
        feed = {"observation": observation[part], STATE_IN: state[part]}
        action, following = session.run(["action", STATE_OUT], feed)
        parts.append(np.concatenate([action[:, 0], following], axis=1))
    return np.concatenate(parts).astype(np.float64)


def _require_same_path(
    session: ort.InferenceSession, policy: RecurrentPolicy, sequences: Array, allowed: Allowed
) -> None:
    exact, single = (played(policy, sequences, dtype) for dtype in (torch.float64, torch.float32))
    ran = run_sequences(session, sequences)
    drift, usual = (np.max(np.abs(n - exact) / allowed.scale, axis=2) for n in (ran, single))
    limit = np.maximum(allowed.tolerance, _MARGIN * np.maximum.accumulate(usual.max(axis=0)))
    k, tick = map(int, np.unravel_index(np.argmax(np.nan_to_num(drift / limit, nan=np.inf)), drift.shape))
    if not drift[k, tick] <= limit[tick]:
        raise ParityError(
            where=f"{allowed.where}, tick {tick} of sequence {k} at batch {len(sequences)}",
            expected=f"torch and ONNX within {limit[tick]:.1g} on unit scale, with the state carried along",
            got=f"{drift[k, tick]:.3g}",
            remedy="nothing was written; check the graph's state against the policy's",
        )
