"""The score of an expert or a policy file on a task, played in lockstep."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from odeploy_runtime.policy_file.file import PolicyFile
from odeploy_runtime.realtime.machine import machine_line
from odeploy_runtime.reports.statistics import mean_interval, wilson_interval
from odeploy_runtime.robot.chunk_playback import ChunkOptions
from odeploy_sim.demonstrations.demonstrator import demonstrator
from odeploy_sim.demonstrations.recorder import Size, Wanted, gather
from odeploy_sim.tasks.env import TaskEnv
from odeploy_sim.tasks.seeds import SCORES
from odeploy_sim.tasks.task import Task


def score(
    task: Task,
    episodes: int,
    seed: int,
    noise_level: float,
    policy: PolicyFile | None,
    chunks: ChunkOptions,
    console: Console,
) -> dict[str, Any]:
    """Play episodes of a task; return its score and its player, ready for JSON.

    Args:
        task: task to play.
        episodes: number of episodes.
        seed: seed of resets and of a policy's noise.
        noise_level: noise level of the task.
        policy: policy file to score; None for the task's expert.
        chunks: playback of a policy's chunks.
        console: shows the progress.
    """
    if policy is not None:
        task = task.with_actuation(policy.manifest.actuation)
    env = TaskEnv(task, noise_level)
    expert = demonstrator(env, policy, seed, chunks)
    collected = gather(env, expert, Wanted(Size(episodes), SCORES.seed(seed)), console)
    env.close()
    returns = np.array([episode.rewards.sum() for episode in collected.episodes])
    successes = np.array([episode.success for episode in collected.episodes])
    command = " ".join(["odeploy score", task.name, "--episodes", str(episodes), *chunks.given()])
    return {
        **judged(task, returns, successes),
        "invalid": collected.invalid,
        "noise_level": noise_level,
        "seed": seed,
        "expert": expert.card.name,
        "expert_kind": expert.card.kind,
        "fingerprint": expert.card.fingerprint,
        "machine": machine_line(),
        "command": command,
    }


def judged(task: Task, returns: NDArray[np.float64], successes: NDArray[np.bool_]) -> dict[str, Any]:
    """Return the task's score of episodes: the mean, its 95 % interval and its data.

    Args:
        task: decides whether success or the return counts.
        returns: return of each episode. Shape (E,).
        successes: whether each was solved. Shape (E,).
    """
    by_return = task.scored_by == "return"
    values = returns if by_return else successes.astype(np.float64)
    low, high = mean_interval(values.tolist()) if by_return else wilson_interval(int(values.sum()), len(values))
    return {
        "scored_by": task.scored_by,
        "value": float(values.mean()),
        "low": low,
        "high": high,
        "std": float(values.std()),
        "return_mean": float(returns.mean()),
        "episodes": len(values),
    }
