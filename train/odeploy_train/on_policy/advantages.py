"""Generalised advantage estimation (Schulman et al., arXiv 1506.02438).

    δ_t = r_t + γ V(s_{t+1}) (1 - terminated_t) - V(s_t)
    A_t = δ_t + γ λ A_{t+1} (1 - over_t)

An episode that the horizon truncates does not end there: V of its true last state is bootstrapped. Beyond either
end another episode begins, so no advantage flows back across it. A tick at which the simulation broke has no
advantage: the episode counts as truncated just before it, with V of the state that it left.
"""

import torch
from torch import Tensor


def advantages(
    rewards: Tensor,
    values: Tensor,
    next_values: Tensor,
    terminated: Tensor,
    over: Tensor,
    valid: Tensor,
    discount: float,
    trace_decay: float,
) -> Tensor:
    """Return A_t of every tick.

    Args:
        rewards: r. Shape (T, N).
        values: V(s_t). Shape (T, N).
        next_values: V(s_{t+1}); where an episode is over, of its own last state. Shape (T, N).
        terminated: 1 where the task ended the episode. Shape (T, N).
        over: 1 where it ended or was truncated. Shape (T, N).
        valid: False where the simulation broke, which ends the episode. Shape (T, N).
        discount: γ.
        trace_decay: λ.

    Returns:
        Shape (T, N).
    """
    deltas = (rewards + discount * next_values * (1 - terminated) - values) * valid
    keep = discount * trace_decay * (1 - over)
    result = deltas.clone()
    for t in range(len(rewards) - 2, -1, -1):
        result[t] += keep[t] * result[t + 1]
    return result


def normalised(advantage: Tensor, valid: Tensor) -> Tensor:
    """Return advantages with mean 0 and standard deviation 1 over the valid ticks.

    Equal advantages become 0: float64 keeps the rounding of their mean far below the 1e-8 added to the deviation.

    Shapes (M,), (M,) -> (M,).
    """
    wide = advantage.double()
    std, mean = torch.std_mean(wide[valid], correction=0)
    return ((wide - mean) / (std + 1e-8)).to(advantage.dtype)
