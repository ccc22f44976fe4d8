"""The expert of cartpole-balance."""

import numpy as np
from numpy.typing import NDArray

from odeploy_sim.tasks.env import TaskEnv


class CartpoleExpert:
    """Linear feedback of the state.

    The cart follows a tilting pole, and otherwise returns to the middle.

    The task starts within 2 degrees of upright, where the linearised plant is accurate.
    """

    GAINS = (0.3, 4.0, 0.5, 1.0)  # of position, angle and their velocities; in full forces per m, rad, m/s, rad/s

    def __init__(self, _env: TaskEnv) -> None: ...

    def __call__(self, observation: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the force for an observation. Shape (1,).

        The observation is position, angle's cosine and sine, velocity, angular velocity.
        """
        x, cosine, sine, v, omega = observation
        force = np.dot(self.GAINS, (x, np.arctan2(sine, cosine), v, omega))
        return np.clip([force], -1, 1).astype(np.float32)
