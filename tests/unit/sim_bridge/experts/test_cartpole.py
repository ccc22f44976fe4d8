"""The expert of cartpole-balance: stable on the linearised plant, with nearly the full return."""

import numpy as np

from odeploy_sim.catalogue.control_suite import CARTPOLE_BALANCE
from odeploy_sim.experts.cartpole import CartpoleExpert
from odeploy_sim.tasks.env import TaskEnv


def test_the_closed_loop_is_stable_on_the_linearised_model() -> None:
    """A cart of M = 1 kg, a rod of m = 0.1 kg and half length l = 0.5 m, 10 N at full command, no friction.

    About upright: (M + m) x'' + m l θ'' = F and (I + m l²) θ'' + m l x'' = m g l θ.
    """
    M, m, half, g, strength = 1.0, 0.1, 0.5, 9.81, 10.0
    radius = 0.045  # of the capsule; MuJoCo's inertia is that of a cylinder with half spheres at its ends
    inertia = m * (2 * half) ** 2 / 12 + m * radius**2 / 4
    masses = np.array([[M + m, m * half], [m * half, inertia + m * half**2]])
    A, B = np.zeros((4, 4)), np.zeros((4, 1))
    A[:2, 2:] = np.eye(2)
    A[2:, 1] = np.linalg.solve(masses, [0, m * g * half])
    B[2:, 0] = np.linalg.solve(masses, [strength, 0])
    open_loop = np.linalg.eigvals(A).real.max()
    closed_loop = np.linalg.eigvals(A + B @ np.array([CartpoleExpert.GAINS])).real.max()
    assert open_loop > 3
    assert closed_loop < -0.25


def test_the_pole_stays_up_from_every_start() -> None:
    env = TaskEnv(CARTPOLE_BALANCE)
    expert = CartpoleExpert(env)
    for seed in range(3):
        observation, total = env.reset(seed), 0.0
        for _ in range(CARTPOLE_BALANCE.horizon):
            step = env.step(expert(observation))
            observation, total = step.observation, total + step.reward
        assert step.truncated
        assert total > 999
    env.close()
