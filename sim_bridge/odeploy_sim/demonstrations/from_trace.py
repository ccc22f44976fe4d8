"""Demonstrations from traces: recorded runs become episodes of a dataset.

A trace has flat float32 rows. A dataset has the environment's raw observations, one more than actions, and the
reason why each episode ended. So the commands are replayed, as for a film (`odeploy_sim/tasks/replay.py`). The
stored action is the command after the guard.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from odeploy_runtime.errors import ContractError
from odeploy_runtime.signals import require_same_names
from odeploy_runtime.trace.format import ENDED, INVALID, SKIPPED, STOPPED, Trace, TraceHeader
from odeploy_runtime.trace.reader import read_trace
from odeploy_sim.demonstrations.dataset import Episode
from odeploy_sim.tasks.env import TaskEnv, episode_seed
from odeploy_sim.tasks.replay import diverged, replay
from odeploy_sim.tasks.task import Task


@dataclass
class Gathered:
    """Episodes of traces, in order, and the number of those left out, by reason.

    Attributes:
        episodes: the episodes.
        failures: number that ended unsolved.
        invalid: number in which the simulation broke.
        stopped: number that the operator or a signal ended.
        cut: number with missing rows.
    """

    episodes: list[Episode]
    failures: int = 0
    invalid: int = 0
    stopped: int = 0
    cut: int = 0


def read_traces(paths: Sequence[Path]) -> list[Trace]:
    """Read the traces of one dataset.

    Raises:
        ContractError: the traces have different tasks or noise levels.
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
    """Replay every complete episode of the traces; return the wanted ones.

    Raises:
        ContractError: the simulation differs from a trace, or no episode is left.
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
                found.episodes.append(_replayed(env, rows[rows["kind"] != SKIPPED], trace.header))
    if not found.episodes:
        raise ContractError(
            where="--from-trace",
            expected="an episode to keep",
            got=f"none: {found.failures} failed, {found.invalid} broke, {found.stopped} were stopped, "
            f"{found.cut} are not whole",
            remedy="give traces of whole runs, or leave out --successes-only",
        )
    return found


def _episodes(trace: Trace) -> Iterator[NDArray[np.void]]:
    edges = np.flatnonzero(np.diff(trace.rows["episode"])) + 1
    return (rows for rows in np.split(trace.rows, edges) if len(rows))


def _replayed(env: TaskEnv, rows: NDArray[np.void], header: TraceHeader) -> Episode:
    """Return an episode as the recorder records it, from rows of ticks that ran."""
    number = int(rows["episode"][0])
    observations, rewards = [], []
    for i, step in enumerate(replay(env, rows, header.seed, header.commanded)):
        observations.append(env.raw)
        if step is not None:
            rewards.append(step.reward)
            if header.commanded and i < len(rows):
                _require_own_command(step.observation, rows[i], header.commanded)
    assert step is not None  # rows are not empty
    # The guard's STOP or the operator ended an episode that the simulation would have continued.
    if step.invalid or step.success != bool(rows["success"][-1]):
        raise diverged(number, int(rows["tick"][-1]), "end")
    return Episode(
        observations=observations,
        actions=rows["action"].copy(),
        rewards=np.array(rewards),
        terminated=step.terminated,
        success=step.success,
        seed=episode_seed(header.seed, number),
    )


def _require_own_command(
    observation: NDArray[np.float32], row: NDArray[np.void], commanded: Sequence[str]
) -> None:
    """Require that the task's own command was followed: its rewards count that one."""
    recorded = row["observation"]
    if not (np.array_equal(observation, recorded) or np.isnan(recorded).all()):
        raise ContractError(
            where=f"episode {int(row['episode'])}, tick {int(row['tick'])}",
            expected="the task's own command, which its rewards count",
            got=f"an operator's numbers for {', '.join(commanded)}",
            remedy="record it without `odeploy operate command`",
        )


def _require_fit(trace: Trace, task: Task) -> None:
    require_same_names(task.observation_names, [s.name for s in trace.header.observation], "trace, observation")
    require_same_names(task.action_names, [s.name for s in trace.header.action], "trace, action")
