"""Demonstrations from traces: what was driven becomes episodes as an expert's are recorded.

A trace has flat float32 rows; a set has what the environment itself gave, one observation more than actions, and
why each episode ended. So the commands are played again, as a film does, and each observation on the way must be
the recorded one, bit for bit. What is stored as action is what was commanded, after the guard.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from odeploy_runtime.errors import ContractError
from odeploy_runtime.signals import require_same_names
from odeploy_runtime.trace.format import ENDED, INVALID, SKIPPED, STOPPED, Trace
from odeploy_runtime.trace.reader import read_trace
from odeploy_sim.demonstrations.dataset import Episode
from odeploy_sim.tasks.env import TaskEnv, episode_seed
from odeploy_sim.tasks.task import Task


@dataclass
class Gathered:
    """Episodes of traces, in order, and how many were left out because of what.

    Attributes:
        episodes: those that are kept.
        failures: that ended unsolved.
        invalid: in which the simulation broke.
        stopped: that a person, or a signal, ended.
        cut: whose rows are not all there.
    """

    episodes: list[Episode]
    failures: int = 0
    invalid: int = 0
    stopped: int = 0
    cut: int = 0


def read_traces(paths: Sequence[Path]) -> list[Trace]:
    """Reads traces that make one set.

    Raises:
        ContractError: of different tasks, or noise levels.
    """
    traces = [read_trace(path) for path in paths]
    first = traces[0].header
    for path, trace in zip(paths, traces, strict=True):
        h = trace.header
        if (h.task, h.noise_level) != (first.task, first.noise_level):
            raise ContractError(
                where=str(path),
                expected=f"a run of {first.task} at noise level {first.noise_level:g}, as {paths[0]}",
                got=f"{h.task} at {h.noise_level:g}",
                remedy="make a set of each",
            )
    return traces


def gather(env: TaskEnv, traces: Sequence[Trace], successes_only: bool, stopped_too: bool) -> Gathered:
    """Plays every whole episode of the traces again and keeps those that are wanted.

    Raises:
        ContractError: the simulation goes another way than a trace says, or nothing is left to keep.
    """
    found = Gathered([])
    for trace in traces:
        _require_fit(trace, env.task)
        for rows in _episodes(trace):
            end = int(rows["end"][-1])
            if end == INVALID:
                found.invalid += 1
            elif end == STOPPED and not stopped_too:
                found.stopped += 1
            elif end not in (ENDED, STOPPED) or (rows["tick"] != np.arange(len(rows))).any():
                found.cut += 1
            elif successes_only and not rows["success"][-1]:
                found.failures += 1
            else:
                found.episodes.append(_again(env, rows[rows["kind"] != SKIPPED], trace.header.seed))
    if not found.episodes:
        raise ContractError(
            where="--from-trace",
            expected="an episode to keep",
            got=f"none: {found.failures} failed, {found.invalid} broke, {found.stopped} were stopped, "
            f"{found.cut} are not whole",
            remedy="give traces of whole runs, or ask for less",
        )
    return found


def _episodes(trace: Trace) -> Iterator[NDArray[np.void]]:
    edges = np.flatnonzero(np.diff(trace.rows["episode"])) + 1
    return (rows for rows in np.split(trace.rows, edges) if len(rows))


def _again(env: TaskEnv, rows: NDArray[np.void], seed: int) -> Episode:
    """One episode as the recorder would have kept it. The rows are those of ticks that ran."""
    number = int(rows["episode"][0])
    reset_seed = episode_seed(seed, number)
    observation, observations, rewards = env.reset(reset_seed), [], []
    for row in rows:
        if not np.array_equal(observation, row["observation"]):
            raise _another_way(number, int(row["tick"]), "observation")
        observations.append(env.raw)
        step = env.step(row["action"].copy())
        observation = step.observation
        rewards.append(step.reward)
    # A guard that stopped, or a person, ended an episode that the simulation would have gone on with.
    if step.invalid or step.success != bool(rows["success"][-1]):
        raise _another_way(number, int(rows["tick"][-1]), "end")
    observations.append(env.raw)
    actions = rows["action"].copy()
    return Episode(observations, actions, np.array(rewards), step.terminated, step.success, reset_seed)


def _require_fit(trace: Trace, task: Task) -> None:
    require_same_names(task.observation_names, [s.name for s in trace.header.observation], "trace, observation")
    require_same_names(task.action_names, [s.name for s in trace.header.action], "trace, action")


def _another_way(episode: int, tick: int, what: str) -> ContractError:
    return ContractError(
        where=f"episode {episode}, tick {tick}",
        expected=f"the {what} of the trace",
        got="another one from the same commands",
        remedy="collect on the machine, and with the versions, that recorded the trace",
    )
