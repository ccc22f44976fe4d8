"""Replay of a recorded episode: its commands, in a fresh simulation.

Films and datasets are made in this way after a run, so a run records nothing for them. Each observation on the way
must equal the recorded one bit by bit, so the replay shows what was driven. Signals that an operator could set are
not compared: the simulation does not know the operator's numbers.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from odeploy_runtime.errors import ContractError
from odeploy_sim.tasks.env import Step, TaskEnv, episode_seed


def replay(
    env: TaskEnv, rows: NDArray[np.void], seed: int, commanded: Sequence[str] = ()
) -> Iterator[Step | None]:
    """Replay an episode; yield None after the reset, then the result of each tick.

    Args:
        env: simulation of the trace's task.
        rows: rows of one episode, of the ticks that ran, see `odeploy_runtime.trace.format.row_type`.
        seed: seed of the run.
        commanded: names of the signals that an operator could set.

    Raises:
        ContractError: the simulation differs from the trace.
    """
    own = [i for i, name in enumerate(env.task.observation_names) if name not in commanded]
    number, step = int(rows["episode"][0]), None
    observation = env.reset(episode_seed(seed, number))
    for row in rows:
        yield step
        recorded = row["observation"]
        if not (np.array_equal(observation[own], recorded[own]) or np.isnan(recorded).all()):
            raise diverged(number, int(row["tick"]), "observation")
        step = env.step(row["action"].copy())
        observation = step.observation
    yield step


def diverged(episode: int, tick: int, what: str) -> ContractError:
    """Return the error for a simulation that differs from a trace."""
    return ContractError(
        where=f"episode {episode}, tick {tick}",
        expected=f"the {what} of the trace",
        got="another one from the same commands",
        remedy="repeat this on the machine, and with the versions, that recorded the trace",
    )
