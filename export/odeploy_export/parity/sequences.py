"""The gate of a recurrent graph: each tick is torch's, of the action and of the state, and so is a whole sequence.

Tick by tick both begin with the same state, one that torch has met on its way. Then the graph carries its own
along. A trained cell may amplify what rounding does to its state, in torch's float32 as in ONNX Runtime's, until
no fixed tolerance fits: there the graph may lie as far from float64 as torch's float32 does, times a wide margin.
The state lies in (-1, 1), so 1 is its unit.
"""

import copy
from collections.abc import Sequence

import numpy as np
import onnxruntime as ort
import torch
from numpy.typing import NDArray

from odeploy_export.graphs.recurrent import STATE_IN, STATE_OUT
from odeploy_export.parity.deviation import Numbers, worst_deviation
from odeploy_runtime.errors import ParityError
from odeploy_train.policies.recurrent import RecurrentPolicy

Array = NDArray[np.float32]

_MARGIN = 100  # two ways to round grow apart at one pace, but not from one size; a trained cell showed 0.5 to 1.2


def measure_sequences(
    session: ort.InferenceSession,
    policy: RecurrentPolicy,
    observation: Array,
    batches: Sequence[int],
    scale: Numbers,
    names: Sequence[str],
    tolerance: float,
    where: str,
) -> float:
    """Compares torch in float64 and in float32 with the graph, at each batch size.

    Args:
        session: of the graph.
        policy: as trained.
        observation: one sequence, recorded ticks first. Shape (M, O).
        batches: sizes, and numbers of lanes.
        scale: what counts as 1, of the action. Shape (A,).
        names: of its A numbers.
        tolerance: on unit scale, and of the state.
        where: the file.

    Returns:
        The largest deviation of a tick.

    Raises:
        ParityError: a tick beyond the tolerance, or a sequence that drifts away.
    """
    A, S = policy.config.action_size, policy.config.state_size
    scale, names = np.append(scale, np.ones(S)), [*names, *(f"state {i}" for i in range(S))]
    path = played(policy, observation[None], torch.float64)[0, :, A:]
    state = np.concatenate([np.zeros((1, S)), path[:-1]]).astype(np.float32)
    wanted = [_stepped(policy, observation, state, dtype) for dtype in (torch.float64, torch.float32)]
    worst = 0.0
    for batch in batches:
        got = _run_steps(session, observation, state, batch)
        worst = max(worst, worst_deviation(got, wanted, scale, names, tolerance, where, f"at batch {batch}"))
        # Each lane goes once around all rows, from another place and a zero state.
        starts = [lane * len(observation) // batch for lane in range(batch)]
        lanes = np.stack([np.roll(observation, -start, axis=0) for start in starts])
        _require_same_way(session, policy, lanes, scale, tolerance, where)
    return worst


def run_sequences(session: ort.InferenceSession, observations: Array) -> Numbers:
    """The graph's action and state after each tick, from zero states. Shapes (B, T, O) -> (B, T, A + S)."""
    size = next(i.shape[1] for i in session.get_inputs() if i.name == STATE_IN)
    state, ticks = np.zeros((len(observations), size), np.float32), []
    for observation in observations.swapaxes(0, 1):
        action, state = session.run(["action", STATE_OUT], {"observation": observation, STATE_IN: state})
        ticks.append(np.concatenate([action[:, 0], state], axis=1))
    return np.stack(ticks, axis=1).astype(np.float64)


@torch.no_grad()
def played(policy: RecurrentPolicy, observations: Array, dtype: torch.dtype) -> Numbers:
    """The same by torch, computed in `dtype`."""
    policy = copy.deepcopy(policy).to(dtype).eval()
    unit, states = policy.unroll(torch.from_numpy(observations).to(dtype), policy.first_state(len(observations)))
    sequences: Numbers = torch.cat([policy.to_robot(unit), states], dim=2).double().numpy()
    return sequences


@torch.no_grad()
def _stepped(policy: RecurrentPolicy, observation: Array, state: Array, dtype: torch.dtype) -> Numbers:
    """Action and next state of each row. Shapes (M, O), (M, S) -> (M, A + S)."""
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


def _require_same_way(
    session: ort.InferenceSession,
    policy: RecurrentPolicy,
    lanes: Array,
    scale: Numbers,
    tolerance: float,
    where: str,
) -> None:
    exact, single = (played(policy, lanes, dtype) for dtype in (torch.float64, torch.float32))
    drift, usual = (np.max(np.abs(n - exact) / scale, axis=2) for n in (run_sequences(session, lanes), single))
    allowed = np.maximum(tolerance, _MARGIN * np.maximum.accumulate(usual.max(axis=0)))
    lane, tick = map(int, np.unravel_index(np.argmax(np.nan_to_num(drift / allowed, nan=np.inf)), drift.shape))
    if not drift[lane, tick] <= allowed[tick]:
        raise ParityError(
            where=f"{where}, tick {tick} of sequence {lane} at batch {len(lanes)}",
            expected=f"torch and ONNX within {allowed[tick]:.1g} on unit scale, the state carried along",
            got=f"{drift[lane, tick]:.3g}",
            remedy="nothing was written; check that the graph's state is the policy's",
        )
