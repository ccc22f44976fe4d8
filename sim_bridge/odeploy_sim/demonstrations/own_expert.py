"""Demonstrations by a function of the user's."""

import hashlib
import inspect
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from odeploy_runtime.reports.terminal import Terminal
from odeploy_sim.demonstrations.card import Card, ExpertCard
from odeploy_sim.demonstrations.collection import CollectOptions
from odeploy_sim.demonstrations.collection import collect as saved
from odeploy_sim.demonstrations.demonstrator import script_fingerprint
from odeploy_sim.demonstrations.expert import Demonstrator
from odeploy_sim.demonstrations.quality import Quality
from odeploy_sim.demonstrations.recorder import Size
from odeploy_sim.experts import Expert
from odeploy_sim.own_tasks.reference import resolve
from odeploy_sim.tasks.task import Task


def collect(
    task: Task | str,
    expert: Callable[[NDArray[np.float32]], ArrayLike],
    out: str | Path,
    *,
    episodes: int = 100,
    action_std: float = 0.0,
    seed: int = 0,
) -> Card:
    """Record a function's episodes as a dataset for `odeploy train`; return its card.

    Args:
        task: the task, or how a command line names it.
        expert: returns the action, (A,), for a flat observation, (O,).
        out: folder of the dataset; its name ends in a version, as `reach-v0` does.
        episodes: number of episodes.
        action_std: standard deviation of Gaussian noise on each action, in action units.
        seed: seed of resets and noise.

    Raises:
        UsageError: `out` cannot be written.
    """

    def act(observation: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(expert(observation), np.float32)

    def begin(_episode: int) -> Expert:
        return act

    quality = Quality(action_std=action_std)
    options = CollectOptions(size=Size(episodes), quality=quality, seed=seed)
    name = getattr(expert, "__name__", type(expert).__name__)
    own = Demonstrator(ExpertCard("scripted", name, _fingerprint(expert, name)), begin)
    return saved(resolve(task), options, Path(out), Terminal(quiet=True), own)


def _fingerprint(expert: Any, name: str) -> str:
    """Return the fingerprint of a function's statements, or of its name.

    A function without source has only a name.
    """
    try:
        source = inspect.getsource(expert if inspect.isroutine(expert) else type(expert))
        return script_fingerprint(textwrap.dedent(source))
    except (OSError, TypeError, SyntaxError):  # a builtin, an interactive session, part of a lambda's line
        return hashlib.sha256(name.encode()).hexdigest()
