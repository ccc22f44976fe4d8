"""Parity of a graph that continues the previous chunk, for any such chunk.

Each row gets another row's chunk as the previous one, so the two disagree as much as chunks can, and weights as in
use, for every number of actions played. torch computes the gradient of the guidance by autograd. Every fourth row
starts without a previous chunk. So does every row whose observation is far from the trained ones: there guidance
amplifies rounding, and torch's own float32 and float64 lie up to 4.5e-5 apart (random rows of maze-medium, H = 8,
Euler × 10; recorded ones 1.8e-6).
"""

import copy
from collections.abc import Callable

import numpy as np
import onnxruntime as ort
import torch

from odeploy_export.parity.check import BATCHES
from odeploy_export.parity.deviation import Allowed, Numbers, worst_deviation
from odeploy_export.parity.rows import Array, Rows
from odeploy_runtime.inference.previous_chunk import PreviousChunk, frozen_weights
from odeploy_runtime.policy_file.manifest import Parity, Sampler
from odeploy_train.modules.ode import solver
from odeploy_train.policies.chunk_guidance import guided_sample
from odeploy_train.policies.flow import FlowPolicy

Guided = Callable[[Array, Array, Array, Array], Numbers]
_FRESH_EVERY = 4
_FAR_STDS = 1.5  # root mean square over an observation's signals


def guided_reference(policy: FlowPolicy, sampler: Sampler, dtype: torch.dtype) -> Guided:
    """Return the policy as a function of its four inputs, computed in `dtype`.

    The inputs are observation, noise, previous and frozen.

    Shapes (M, O), (M, 1, 1, D), (M, H, A), (M, H) -> (M, D).
    """
    policy = copy.deepcopy(policy).to(dtype).eval()
    tableau, t_grid = solver(sampler.solver), sampler.t_grid

    def answer(*arrays: Array) -> Numbers:
        o, noise, previous, frozen = (torch.tensor(a, dtype=dtype) for a in arrays)
        actions = guided_sample(policy, o, noise.flatten(1), previous.flatten(1), frozen, tableau, t_grid)
        return actions.detach().double().numpy()

    return answer


def check_continuations(
    session: ort.InferenceSession, policy: FlowPolicy, sampler: Sampler, rows: Rows, allowed: Allowed
) -> Parity:
    """Compare torch in float64 and in float32 with the graph, at each batch size.

    Args:
        session: of the graph.
        policy: as trained.
        sampler: of the graph.
        rows: inputs, with noise of shape (M, 1, 1, D).
        allowed: scale, names and tolerance of the D actions.

    Raises:
        ParityError: a deviation beyond the tolerance.
    """
    H, A, M = policy.config.horizon, policy.config.action_size, len(rows)
    observation, noise = rows.observation, rows.noise
    references = [guided_reference(policy, sampler, dtype) for dtype in (torch.float64, torch.float32)]
    nothing = np.zeros((M, H, A), np.float32), np.zeros((M, H), np.float32)
    plain = references[1](observation, noise, *nothing).astype(np.float32).reshape(M, H, A)
    previous, frozen = np.roll(plain, 1, axis=0), np.zeros((M, H), np.float32)
    unit = policy.normalise(torch.from_numpy(observation)).numpy()
    near = np.sqrt((unit**2).mean(axis=1)) <= _FAR_STDS
    for row in range(M):
        if near[row] and row % _FRESH_EVERY:
            played = 1 + row % (H - 1)
            frozen[row] = frozen_weights(H, row % (H - played + 1), played)
    feed = {"observation": observation, "noise": noise, "previous": previous, "frozen": frozen}
    wanted = [reference(observation, noise, previous, frozen) for reference in references]
    inputs = {i.name for i in session.get_inputs()}
    worst = 0.0
    for batch in BATCHES:
        parts = [
            session.run(["action"], {k: v[i : i + batch] for k, v in feed.items() if k in inputs})[0]
            for i in range(0, M, batch)
        ]
        got = np.concatenate(parts).reshape(M, -1).astype(np.float64)
        worst = max(worst, worst_deviation(got, wanted, allowed, f"at batch {batch}"))
    return Parity(session.get_providers()[0], worst, allowed.tolerance, M, BATCHES)


def golden_chunks(
    policy: FlowPolicy, sampler: Sampler, observation: Array, noise: Array, frozen: int
) -> list[Numbers]:
    """Return torch's float32 chunks for rows a tick apart.

    Each chunk continues the previous one.
    """
    answer, continuation, chunks = guided_reference(policy, sampler, torch.float32), PreviousChunk(), []
    H, A = policy.config.horizon, policy.config.action_size
    for seq in range(len(observation)):
        previous, weights = continuation.before(0, 0, seq)
        given = np.broadcast_to(previous, (1, H, A)), np.broadcast_to(weights, (1, H))
        chunks.append(answer(observation[seq : seq + 1], noise[seq : seq + 1], *given))
        continuation.commit(0, 0, seq, chunks[-1].reshape(H, A).astype(np.float32), frozen)
    return chunks
