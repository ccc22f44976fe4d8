"""The gate of a graph that goes on from the chunk before: its answers are torch's, whatever it goes on from.

Each row is given the answer to another row as the chunk before, so the two disagree as much as chunks can, and
weights as they are met in use, for every number of actions that have been played. torch takes the gradient of the
guidance by autograd. Every fourth row begins anew, as do all whose observation is far from those that the policy
knows: there guidance amplifies rounding, and torch's own float32 and float64 lie up to 4.5e-5 apart (random rows
of maze-medium, H = 8, Euler x 10; recorded ones 1.8e-6).
"""

import copy
from collections.abc import Callable, Sequence

import numpy as np
import onnxruntime as ort
import torch
from numpy.typing import NDArray

from odeploy_export.parity.deviation import Numbers, worst_deviation
from odeploy_runtime.inference.previous_chunk import PreviousChunk, frozen_weights
from odeploy_runtime.policy_file.manifest import Sampler
from odeploy_train.modules.ode import solver
from odeploy_train.policies.chunk_guidance import guided_sample
from odeploy_train.policies.flow import FlowPolicy

Array = NDArray[np.float32]
Guided = Callable[[Array, Array, Array, Array], Numbers]
_BEGINS_ANEW = 4
_FAR_STDS = 1.5  # root mean square over an observation's signals


def guided_reference(policy: FlowPolicy, sampler: Sampler, dtype: torch.dtype) -> Guided:
    """The policy as a function of (observation, noise, previous, frozen), computed in `dtype`.

    Shapes (M, O), (M, 1, 1, D), (M, H, A), (M, H) -> (M, D).
    """
    policy = copy.deepcopy(policy).to(dtype).eval()
    tableau, t_grid = solver(sampler.solver), sampler.t_grid

    def answer(*arrays: Array) -> Numbers:
        o, noise, previous, frozen = (torch.tensor(a, dtype=dtype) for a in arrays)
        actions = guided_sample(policy, o, noise.flatten(1), previous.flatten(1), frozen, tableau, t_grid)
        return actions.detach().double().numpy()

    return answer


def measure_continuations(
    session: ort.InferenceSession,
    policy: FlowPolicy,
    sampler: Sampler,
    observation: Array,
    noise: Array,
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
        sampler: of the graph.
        observation: Shape (M, O).
        noise: Shape (M, 1, 1, D).
        batches: numbers of rows in one call.
        scale: what counts as 1. Shape (D,).
        names: of the D numbers.
        tolerance: on unit scale.
        where: the file.

    Returns:
        The largest deviation.

    Raises:
        ParityError: one beyond the tolerance.
    """
    H, A, M = policy.config.horizon, policy.config.action_size, len(observation)
    references = [guided_reference(policy, sampler, dtype) for dtype in (torch.float64, torch.float32)]
    nothing = np.zeros((M, H, A), np.float32), np.zeros((M, H), np.float32)
    plain = references[1](observation, noise, *nothing).astype(np.float32).reshape(M, H, A)
    previous, frozen = np.roll(plain, 1, axis=0), np.zeros((M, H), np.float32)
    unit = policy.normalise(torch.from_numpy(observation)).numpy()
    near = np.sqrt((unit**2).mean(axis=1)) <= _FAR_STDS
    for row in range(M):
        if near[row] and row % _BEGINS_ANEW:
            played = 1 + row % (H - 1)
            frozen[row] = frozen_weights(H, row % (H - played + 1), played)
    feed = {"observation": observation, "noise": noise, "previous": previous, "frozen": frozen}
    wanted = [reference(observation, noise, previous, frozen) for reference in references]
    inputs = {i.name for i in session.get_inputs()}
    worst = 0.0
    for batch in batches:
        parts = [
            session.run(["action"], {k: v[i : i + batch] for k, v in feed.items() if k in inputs})[0]
            for i in range(0, M, batch)
        ]
        got = np.concatenate(parts).reshape(M, -1).astype(np.float64)
        worst = max(worst, worst_deviation(got, wanted, scale, names, tolerance, where, f"at batch {batch}"))
    return worst


def golden_chunks(
    policy: FlowPolicy, sampler: Sampler, observation: Array, noise: Array, frozen: int
) -> list[Numbers]:
    """torch's answers in float32 to rows a tick apart, each of which goes on from the one before."""
    answer, continuation, chunks = guided_reference(policy, sampler, torch.float32), PreviousChunk(), []
    H, A = policy.config.horizon, policy.config.action_size
    for seq in range(len(observation)):
        previous, weights = continuation.before(0, 0, seq)
        given = np.broadcast_to(previous, (1, H, A)), np.broadcast_to(weights, (1, H))
        chunks.append(answer(observation[seq : seq + 1], noise[seq : seq + 1], *given))
        continuation.commit(0, 0, seq, chunks[-1].reshape(H, A).astype(np.float32), frozen)
    return chunks
