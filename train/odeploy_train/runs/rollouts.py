"""Episodes of a torch policy in lockstep: the simulator waits for each action.

Distillation takes from them the observations that a student visits, and each training command the score that it
prints. Which episodes count is the rule of `odeploy_sim.tasks.episodes`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from odeploy_sim.tasks import episodes as lockstep
from odeploy_sim.tasks.env import TaskEnv
from odeploy_sim.tasks.episodes import RunningEpisode, Simulations, valid
from odeploy_sim.tasks.seeds import DRAWN
from odeploy_sim.tasks.task import Task

Act = Callable[[Tensor], Tensor]
"""A policy: raw observations of shape (B, O) to actions of shape (B, A), in robot units."""


@dataclass(frozen=True)
class Episodes:
    """Valid episodes of a policy, by number.

    Attributes:
        observations: of every tick, episode after episode. Shape (M, O).
        returns: sums of the environment's own rewards. Shape (episodes,).
        successes: whether each ended solved. Shape (episodes,).
        invalid: number of episodes in which the simulation broke; others replace them.
    """

    observations: Tensor
    returns: NDArray[np.float64]
    successes: NDArray[np.bool_]
    invalid: int = 0

    def score(self, task: Task) -> str:
        """Return one line with the measure that the task is scored by."""
        count = f"over {len(self.returns)} lockstep episodes" + (f", {self.invalid} broke" if self.invalid else "")
        if task.scored_by == "success":
            return f"success {self.successes.mean():.3f} {count}"
        return f"return {self.returns.mean():.1f} ± {self.returns.std():.1f} {count}"


class Rollouts(Simulations):
    """Simulations of a task in which a torch policy plays."""

    def play(self, act: Act, seed: int, episodes: int) -> Episodes:
        """Play the first valid episodes of a seed.

        Args:
            act: the policy, called once a tick for all episodes that run in parallel.
            seed: seed of the episodes, far from that of demonstrations; see `fresh_seed`.
            episodes: number of episodes.

        Raises:
            ContractError: a hundred episodes in a row broke.
        """
        return self._gathered(lambda running: answer(act, running), seed, episodes)

    def play_with_state(self, begin: Callable[[], Act], seed: int, episodes: int) -> Episodes:
        """Play as `play` does by a policy with a state.

        `begin` returns a new state for each episode.
        """
        acts: dict[TaskEnv, Act] = {}

        def each(running: Sequence[RunningEpisode]) -> NDArray[np.float32]:
            acts.update({episode.env: begin() for episode in running if episode.tick == 0})
            return np.concatenate([answer(acts[episode.env], [episode]) for episode in running])

        return self._gathered(each, seed, episodes)

    def _gathered(self, act: lockstep.Act, seed: int, episodes: int) -> Episodes:
        trajectories, invalid = valid(self.trajectories(act, seed, episodes))
        return Episodes(
            torch.from_numpy(np.concatenate([trajectory.observations[:-1] for trajectory in trajectories])),
            np.array([trajectory.total for trajectory in trajectories]),
            np.array([trajectory.success for trajectory in trajectories]),
            invalid,
        )


def answer(act: Act, running: Sequence[RunningEpisode]) -> NDArray[np.float32]:
    """Return a policy's actions for running episodes, from one forward pass.

    Shape (B, A).
    """
    with torch.no_grad():
        actions: NDArray[np.float32] = act(torch.from_numpy(np.stack([e.observation for e in running]))).numpy()
    return actions


def fresh_seed(generator: torch.Generator) -> int:
    """Draw a seed for `Rollouts.play`, whose episodes nothing else plays."""
    return DRAWN.seed(int(torch.randint(DRAWN.count, (), generator=generator)))
