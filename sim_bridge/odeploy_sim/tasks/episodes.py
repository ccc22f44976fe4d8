"""Whole episodes of a task in parallel lockstep: simulations wait for the policy.

Scores, demonstrations, trainings, figures and parity checks all play their episodes here. Only the robot's
control loop has its own, since it is the loop under test.

One rule holds for an episode in which the simulation breaks: it does not count, and the next number takes its
place. A score over N episodes is therefore that of the first N of its seed that the simulation survives, and the
number of broken ones is reported beside it.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from odeploy_runtime.errors import ContractError
from odeploy_sim.tasks.env import TaskEnv, episode_seed
from odeploy_sim.tasks.task import Task

PARALLEL = 10  # simulations that share one call of the policy; building ten for maze-medium took 1.5 s
_PATIENCE = 100  # broken episodes in a row


class Start(NamedTuple):
    """The beginning of an episode.

    Attributes:
        number: number of the episode within its seed.
        seed: seed of the reset.
    """

    number: int
    seed: int


@dataclass(frozen=True, eq=False)
class Trajectory:
    """A finished episode of T ticks.

    Attributes:
        number: number of the episode within its seed.
        observations: from the reset to the last tick. Shape (T + 1, O).
        actions: as the environment received them. Shape (T, A).
        rewards: the environment's own. Shape (T,).
        total: sum of the rewards, added tick by tick.
        terminated: whether the task ended it, rather than the horizon.
        success: whether it ended solved.
        invalid: whether the simulation broke.
    """

    number: int
    observations: NDArray[np.float32]
    actions: NDArray[np.float32]
    rewards: NDArray[np.float64]
    total: float
    terminated: bool
    success: bool
    invalid: bool


class RunningEpisode:
    """A simulation and the episode that it is in.

    Attributes:
        env: the simulation.
        number: number of the episode within its seed.
        tick: current tick, 0 after the reset.
        observation: latest observation. Shape (O,).
    """

    def __init__(self, env: TaskEnv, start: Start) -> None:
        self.env = env
        self.begin(start)

    def begin(self, start: Start) -> None:
        """Reset the simulation to the start of an episode."""
        self.number, self.tick = start.number, 0
        self.observation = self.env.reset(start.seed)
        self._observations = [self.observation]
        self._actions: list[NDArray[np.float32]] = []
        self._rewards: list[float] = []
        self._total = 0.0

    def step(self, action: NDArray[np.float32]) -> Trajectory | None:
        """Step the simulation by one tick; return the trajectory if that ends the episode."""
        self._actions.append(action.copy())
        step = self.env.step(action)
        self.observation, self.tick = step.observation, self.tick + 1
        self._observations.append(step.observation)
        self._rewards.append(step.reward)
        self._total += step.reward
        if not step.done:
            return None
        stacked = np.stack(self._observations), np.stack(self._actions), np.array(self._rewards)
        return Trajectory(self.number, *stacked, self._total, step.terminated, step.success, step.invalid)


Act = Callable[[Sequence[RunningEpisode]], NDArray[np.float32]]
"""A policy: returns an action for each running episode, in their order. Shape (B, A)."""


def lockstep(envs: Sequence[TaskEnv], act: Act, following: Callable[[], Start | None]) -> Iterator[Trajectory]:
    """Play episodes in parallel, and yield each one as it ends, broken ones too.

    Args:
        envs: simulations of one task.
        act: the policy, called once a tick for all running episodes.
        following: returns the start of the next episode, None if there is no other at the moment. Called when a
            simulation is free, after its last trajectory was yielded.
    """
    running = []
    for env in envs:
        if (start := following()) is None:
            break
        running.append(RunningEpisode(env, start))
    while running:
        for episode, action in zip(tuple(running), act(running), strict=True):
            trajectory = episode.step(action)
            if trajectory is None:
                continue
            yield trajectory
            if (start := following()) is None:
                running.remove(episode)
            else:
                episode.begin(start)


class BrokenEpisodes:
    """Count of the episodes in which a simulation broke.

    Attributes:
        count: their number so far.
    """

    def __init__(self, task: Task) -> None:
        self._task, self.count, self._in_row = task, 0, 0

    def add(self, invalid: bool) -> None:
        """Count an episode that ended.

        Raises:
            ContractError: a hundred in a row broke.
        """
        self.count += invalid
        self._in_row = self._in_row + 1 if invalid else 0
        if self._in_row == _PATIENCE:
            raise ContractError(
                where=f"episodes of {self._task.name}",
                expected="one that the simulation survives",
                got=f"{_PATIENCE} in a row that broke",
                remedy="look at the policy with `odeploy sim`",
            )


def starts(seed: int) -> Iterator[Start]:
    """Yield the starts of episodes 0, 1, ... of a seed."""
    number = 0
    while True:
        yield Start(number, episode_seed(seed, number))
        number += 1


def play(envs: Sequence[TaskEnv], act: Act, seed: int, episodes: int) -> Iterator[Trajectory]:
    """Play episodes 0, 1, ... of a seed until enough are valid; yield each.

    Args:
        envs: simulations of one task.
        act: the policy.
        seed: seed of the resets.
        episodes: number of valid episodes; each broken one is yielded too and replaced.

    Raises:
        ContractError: a hundred episodes in a row broke.
    """
    broken, numbered, begun = BrokenEpisodes(envs[0].task), starts(seed), 0

    def following() -> Start | None:
        nonlocal begun
        if begun == episodes + broken.count:
            return None
        begun += 1
        return next(numbered)

    for trajectory in lockstep(envs, act, following):
        yield trajectory
        broken.add(trajectory.invalid)


def valid(trajectories: Iterable[Trajectory]) -> tuple[list[Trajectory], int]:
    """Return the valid ones by number, and how many others broke."""
    ordered = sorted(trajectories, key=lambda trajectory: trajectory.number)
    whole = [trajectory for trajectory in ordered if not trajectory.invalid]
    return whole, len(ordered) - len(whole)


class Simulations:
    """Simulations of a task, built when first needed and reused.

    Building them costs more than playing.

    Attributes:
        task: the task.
        envs: those built so far.
    """

    def __init__(self, task: Task, parallel: int = PARALLEL, *, noise_level: float = 1.0) -> None:
        self.task, self._parallel, self._noise_level = task, parallel, noise_level
        self.envs: list[TaskEnv] = []

    def trajectories(self, act: Act, seed: int, episodes: int) -> Iterator[Trajectory]:
        """Play the first valid episodes of a seed; see `play`."""
        while len(self.envs) < min(self._parallel, episodes):
            self.envs.append(TaskEnv(self.task, self._noise_level))
        return play(self.envs, act, seed, episodes)

    def close(self) -> None:
        """Free the simulations."""
        for env in self.envs:
            env.close()
