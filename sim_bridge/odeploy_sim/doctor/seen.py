"""Observations as a policy sees them, behind its recipe."""

import numpy as np
from numpy.typing import NDArray

from odeploy_runtime.inference.policy import Policy
from odeploy_runtime.inference.policy_state import PolicyState
from odeploy_sim.doctor.score import PlayerScore


def seen_by(policy: Policy, player: PlayerScore) -> NDArray[np.float32]:
    """Return the policy's observations of a player's episodes.

    Where the policy's own answers are part of them, they are those it gives here. Shape (M, R) -> (M, O).
    """
    if policy.manifest.recipe is None:
        return player.observations
    rows, first = [], 0
    for episode, length in enumerate(player.lengths):
        state = PolicyState(policy.manifest, 0)
        for tick, raw in enumerate(player.observations[first : first + length]):
            rows.append(state.observe(episode, tick, raw).copy())
            state.answer(policy, 0, episode, tick, raw)
        first += length
    return np.array(rows, np.float32)
