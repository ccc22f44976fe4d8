"""A recorded episode is stepped again, and one that the simulation contradicts is rejected by its tick."""

import dataclasses

import numpy as np
import pytest
from numpy.typing import NDArray

from odeploy_runtime.errors import ContractError
from odeploy_runtime.trace.format import row_type
from odeploy_sim.catalogue import get
from odeploy_sim.tasks.env import Step, TaskEnv, episode_seed
from odeploy_sim.tasks.replay import replay

TASK = dataclasses.replace(get("multigoal-2d"), horizon=5)
SEED, NUMBER = 3, 2


@pytest.fixture
def env() -> TaskEnv:
    return TaskEnv(TASK)


@pytest.fixture
def rows(env: TaskEnv) -> NDArray[np.void]:
    """The rows of episode 2 of seed 3, driven in a circle."""
    made = np.zeros(TASK.horizon, row_type(2, 2))
    observation = env.reset(episode_seed(SEED, NUMBER))
    for tick, row in enumerate(made):
        row["episode"], row["tick"] = NUMBER, tick
        row["observation"], row["action"] = observation, [np.cos(tick), np.sin(tick)]
        observation = env.step(row["action"].copy()).observation
    return made


def test_a_replay_yields_the_start_and_the_result_of_each_tick(env: TaskEnv, rows: NDArray[np.void]) -> None:
    first, *steps = replay(env, rows, SEED)
    assert first is None
    whole = [step for step in steps if isinstance(step, Step)]
    assert len(whole) == len(rows)
    assert [step.observation.tolist() for step in whole[:-1]] == rows["observation"][1:].tolist()
    assert [step.truncated for step in whole] == [False] * 4 + [True]


def test_a_replay_ends_where_the_simulation_differs(env: TaskEnv, rows: NDArray[np.void]) -> None:
    rows["observation"][3] += 1e-6
    steps = replay(env, rows, SEED)
    for _ in range(4):
        next(steps)
    with pytest.raises(
        ContractError, match="episode 2, tick 3: expected the observation of the trace, got another"
    ):
        next(steps)


def test_a_command_without_an_observation_is_replayed_too(env: TaskEnv, rows: NDArray[np.void]) -> None:
    rows["observation"][-1] = np.nan
    assert len(list(replay(env, rows, SEED))) == len(rows) + 1


def test_an_operators_numbers_need_not_be_the_simulations(env: TaskEnv, rows: NDArray[np.void]) -> None:
    rows["observation"][:, 1] = 0.5
    with pytest.raises(ContractError):
        list(replay(env, rows, SEED))
    assert len(list(replay(env, rows, SEED, TASK.observation_names[1:]))) == len(rows) + 1
