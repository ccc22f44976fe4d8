"""Each catalogued task's simulation, built once."""

from collections.abc import Iterator

import pytest

from odeploy_sim.catalogue import TASKS
from odeploy_sim.tasks.env import TaskEnv


@pytest.fixture(scope="session", params=list(TASKS))
def env(request: pytest.FixtureRequest) -> Iterator[TaskEnv]:
    made = TaskEnv(TASKS[request.param])
    yield made
    made.close()


@pytest.fixture(scope="session")
def maze() -> Iterator[TaskEnv]:
    made = TaskEnv(TASKS["maze-medium"])
    yield made
    made.close()
