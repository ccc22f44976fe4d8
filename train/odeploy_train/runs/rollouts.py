"""Episodes played by a policy in lockstep: the simulator waits for the action, and no wall clock is involved.

Distillation takes from them the observations that a student visits, and each verb the success that it prints.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from odeploy_sim.tasks.env import TaskEnv, episode_seed
from odeploy_sim.tasks.task import Task

Act = Callable[[Tensor], Tensor]
LANES = 10  # simulations that share one forward pass; building ten for maze-medium took 1.5 s


@dataclass(frozen=True)
class Episodes:
    """What a policy met and achieved.

    Attributes:
        observations: of every tick, episode after episode. Shape (M, O).
        returns: sums of the environment's own rewards. Shape (episodes,).
        successes: whether each ended solved. Shape (episodes,).
    """

    observations: Tensor
    returns: NDArray[np.float64]
    successes: NDArray[np.bool_]

    def score(self, task: Task) -> str:
        """One line on what the task is judged by."""
        count = f"over {len(self.returns)} lockstep episodes"
        if task.scored_by == "success":
            return f"success {self.successes.mean():.3f} {count}"
        return f"return {self.returns.mean():.1f} ± {self.returns.std():.1f} {count}"


class Rollouts:
    """A few simulations of a task, built when first needed and kept, since building costs more than playing."""

    def __init__(self, task: Task, lanes: int = LANES) -> None:
        self.task, self.lanes = task, lanes
        self.envs: list[TaskEnv] = []

    def play(self, act: Act, seed: int, episodes: int) -> Episodes:
        """Plays episodes 0, 1, ... of a seed.

        Args:
            act: raw observations of shape (B, O) to actions of shape (B, A), in robot units.
            seed: of the episodes; see `odeploy_sim.tasks.env.episode_seed`.
            episodes: how many.
        """
        while len(self.envs) < min(self.lanes, episodes):
            self.envs.append(TaskEnv(self.task))
        seen: list[list[NDArray[np.float32]]] = [[] for _ in range(episodes)]
        returns, successes = np.zeros(episodes), np.zeros(episodes, bool)
        waiting = iter(range(episodes))
        lanes = [(env, i) for env, i in zip(self.envs, waiting, strict=False)]
        for env, i in lanes:
            seen[i].append(env.reset(episode_seed(seed, i)))
        while lanes:
            with torch.no_grad():
                actions = act(torch.from_numpy(np.stack([seen[i][-1] for _, i in lanes]))).numpy()
            running = []
            for (env, i), action in zip(lanes, actions, strict=True):
                step = env.step(action)
                returns[i] += step.reward
                successes[i] = step.success
                if not step.done:
                    seen[i].append(step.observation)
                    running.append((env, i))
                elif (following := next(waiting, None)) is not None:
                    seen[following].append(env.reset(episode_seed(seed, following)))
                    running.append((env, following))
            lanes = running
        visited = torch.from_numpy(np.concatenate([np.stack(o) for o in seen]))
        return Episodes(visited, returns, successes)

    def close(self) -> None:
        """Frees the simulations."""
        for env in self.envs:
            env.close()


def fresh_seed(generator: torch.Generator) -> int:
    """A seed for `Rollouts.play`, far from the small numbers by which demonstrations are collected."""
    return int(torch.randint(2**31, 2**62, (), generator=generator))
