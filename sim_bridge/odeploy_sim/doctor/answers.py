"""A policy file's answers to many observations at once."""

import numpy as np
from numpy.typing import NDArray

from odeploy_runtime.inference.noise import NoiseSource
from odeploy_runtime.inference.policy import Policy

_SEED = 0


def answers(policy: Policy, observations: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the first action of each answer, in robot units.

    Row i always gets the same noise, so two calls differ by their observations alone. A recurrent policy answers
    each row as the first of an episode.

    Args:
        policy: policy of any horizon.
        observations: in raw units. Shape (M, O).

    Returns:
        Shape (M, A).
    """
    source = NoiseSource(policy.manifest.noise, _SEED)
    actions = np.empty((len(observations), len(policy.manifest.action)))
    for i, observation in enumerate(observations):
        policy.reset()
        actions[i] = policy.infer(observation, source.draw(0, i))[0]
    return actions
