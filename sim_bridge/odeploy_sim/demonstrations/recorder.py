"""Recording of an expert, episode after episode.

Seed and i alone determine episode i. A larger dataset therefore begins with the smaller one, and a dataset that
shows some of the goals, or only successes, is a part of the dataset that shows everything.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

from odeploy_runtime.errors import ContractError
from odeploy_runtime.reports.terminal import Label
from odeploy_sim.demonstrations.dataset import Episode
from odeploy_sim.demonstrations.expert import Demonstrator
from odeploy_sim.demonstrations.quality import Region
from odeploy_sim.experts import Expert
from odeploy_sim.tasks.env import TaskEnv, episode_seed
from odeploy_sim.tasks.episodes import RunningEpisode, Start, lockstep
from odeploy_sim.tasks.task import RawObservation, Task

_PATIENCE = 100  # unwanted episodes in a row


class Size(NamedTuple):
    """Amount to collect, in whole episodes.

    The last one may exceed a number of transitions.
    """

    amount: int
    unit: Literal["episodes", "transitions"] = "episodes"


class Collected(NamedTuple):
    """Collected episodes in order, and the numbers of failed and broken ones dropped."""

    episodes: list[Episode]
    failures: int
    invalid: int


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to record.

    Attributes:
        size: amount.
        seed: seed of every random number.
        action_std: standard deviation of Gaussian noise on every action, in action units.
        region: goals to show; None for all.
        successes_only: whether to drop episodes that ended unsolved.
    """

    size: Size
    seed: int
    action_std: float = 0.0
    region: Region | None = None
    successes_only: bool = False


def gather(env: TaskEnv, expert: Demonstrator, wanted: Wanted, console: Console) -> Collected:
    """Play episode after episode until enough wanted ones are recorded.

    Raises:
        ContractError: a hundred in a row were not wanted.
    """
    episodes: list[Episode] = []
    size, region = wanted.size, wanted.region
    failures = invalid = unwanted = 0
    columns = Label(), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task(f"collecting {env.task.name}, {size.unit}", total=size.amount)
        for number in itertools.count():
            seed = episode_seed(wanted.seed, number)
            if region is not None and region.at_start and not region.shows(env.reset(seed)):
                continue
            noise = np.random.default_rng([wanted.seed, number, 1])
            episode = record(env, expert, number, seed, wanted.action_std, noise)
            if episode is None:
                invalid += 1
            elif wanted.successes_only and not episode.success:
                failures, episode = failures + 1, None
            elif region is not None and not region.shows(env.task.flatten(episode.observations[-1])):
                episode = None
            if episode is None:
                unwanted += 1
                if unwanted == _PATIENCE:
                    raise _too_many_unwanted(env.task, failures, invalid)
                continue
            unwanted = 0
            episodes.append(episode)
            progress.advance(bar, 1 if size.unit == "episodes" else len(episode.rewards))
            if progress.tasks[bar].finished:
                break
    return Collected(episodes, failures, invalid)


def record(
    env: TaskEnv,
    expert: Demonstrator,
    number: int,
    seed: int,
    action_std: float,
    noise: np.random.Generator,
) -> Episode | None:
    """Play one episode; the executed (noisy, clipped) actions are recorded.

    Args:
        env: the simulation.
        expert: the expert that acts.
        number: number of the episode, which seeds a policy's noise.
        seed: seed of its reset.
        action_std: standard deviation of Gaussian noise on every action, in action units.
        noise: source of that noise.

    Returns:
        The episode; None if the simulation broke.
    """
    low, high = env.env.action_space.low, env.env.action_space.high  # type: ignore[attr-defined]
    observations: list[RawObservation] = []
    begun: list[Expert] = []

    def act(running: Sequence[RunningEpisode]) -> NDArray[np.float32]:
        (episode,) = running
        if episode.tick == 0:
            begun.append(expert.begin(number))
        observations.append(env.raw)
        action = begun[0](episode.observation)
        if action_std:
            action = action + noise.normal(0, action_std, len(action)).astype(np.float32)
        return np.array([np.clip(action, low, high)], np.float32)

    start = iter([Start(number, seed)])
    (played,) = lockstep([env], act, lambda: next(start, None))
    if played.invalid:
        return None
    observations.append(env.raw)
    return Episode(observations, played.actions, played.rewards, played.terminated, played.success, seed)


def _too_many_unwanted(task: Task, failures: int, invalid: int) -> ContractError:
    return ContractError(
        where=f"collecting {task.name}",
        expected="an episode to keep",
        got=f"{_PATIENCE} in a row to drop; so far {failures} failed, {invalid} broke",
        remedy="choose less noise or more coverage, or give a better --policy",
    )
