"""The simulated plant observes and steps exactly as its simulation."""

import dataclasses

import numpy as np
import pytest

from odeploy_runtime.robot.plant import Outcome, Plant
from odeploy_sim.catalogue import get
from odeploy_sim.simulated_robot.plant import SimulatedPlant
from odeploy_sim.tasks.env import TaskEnv
from tests.unit.sim_bridge.brittle import BRITTLE, push


def test_it_observes_and_steps_bit_for_bit_as_the_simulation() -> None:
    task = dataclasses.replace(get("multigoal-2d"), horizon=6)
    env, plant = TaskEnv(task), SimulatedPlant(TaskEnv(task))
    driven: Plant = plant
    expected = env.reset(3)
    driven.reset(3)
    for value in np.linspace(-1, 1, 6):
        command = np.full(len(task.action), value, np.float32)
        assert driven.observe().tobytes() == expected.tobytes()
        assert driven.observe() is driven.observe()  # simulated time does not advance, and nothing is copied
        step = env.step(command)
        driven.apply(command)
        assert driven.outcome() == (step.reward, step.done, step.success, step.invalid)
        expected = step.observation
    assert driven.outcome().done
    assert driven.observe().tobytes() == expected.tobytes()
    assert (plant.observation, plant.action) == (task.observation, task.action)
    assert (plant.safe_action, plant.horizon, plant.rate_hz) == (task.safe_action, 6, task.rate_hz)
    env.close()
    driven.close()


def test_a_broken_simulation_is_an_invalid_outcome_with_the_last_good_observation() -> None:
    plant = SimulatedPlant(TaskEnv(BRITTLE))
    plant.reset(1)
    plant.apply(push(0.0)[0])
    before = plant.observe().copy()
    plant.apply(push(0.9)[0])
    assert plant.outcome() == Outcome(0.0, done=True, success=False, invalid=True)
    np.testing.assert_array_equal(plant.observe(), before)
    plant.close()


@pytest.mark.parametrize("seed", [1, 2])
def test_the_start_is_the_simulations_for_the_same_seed(seed: int) -> None:
    env, plant = TaskEnv(BRITTLE), SimulatedPlant(TaskEnv(BRITTLE))
    plant.reset(seed)
    np.testing.assert_array_equal(plant.observe(), env.reset(seed))
