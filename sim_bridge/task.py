"""A task: a simulated robot, what it senses and commands, when it has succeeded, and what is safe.

`Task` is data; `TaskEnv` is the running simulation, which speaks flat float32 vectors in the order of the
task's signals, so that the rest of the project never meets an observation dictionary.
"""

import contextlib
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from runtime.errors import ContractError
from runtime.signals import Signal

RawObservation = NDArray[np.float64] | Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True)
class Task:
    """A catalogued task.

    Attributes:
        name: as verbs take it.
        gym_id: gymnasium id of the environment.
        summary: one line for `odeploy tasks`.
        observation: ordered signals of the flat observation.
        action: ordered signals of the action.
        rate_hz: the task's own control rate, at which simulated and wall-clock time agree.
        horizon: ticks after which an episode is cut.
        safe_action: what to command when there is nothing better. A numbers.
        observation_keys: of a dictionary observation, in the order in which they are concatenated.
        success_key: key of `info` that tells success; None where the score is the return.
        make_arguments: further keyword arguments of `gymnasium.make`.
    """

    name: str
    gym_id: str
    summary: str
    observation: tuple[Signal, ...]
    action: tuple[Signal, ...]
    rate_hz: float
    horizon: int
    safe_action: tuple[float, ...]
    observation_keys: tuple[str, ...] = ()
    success_key: str | None = None
    make_arguments: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def observation_names(self) -> tuple[str, ...]:
        """The O names, in order."""
        return tuple(s.name for s in self.observation)

    @cached_property
    def action_names(self) -> tuple[str, ...]:
        """The A names, in order."""
        return tuple(s.name for s in self.action)

    @property
    def scored_by(self) -> str:
        """What an episode is judged by: `success` or `return`."""
        return "return" if self.success_key is None else "success"

    def flatten(self, raw: RawObservation) -> NDArray[np.float32]:
        """A raw observation, or a stack of them, as one flat array. Shape (..., O)."""
        if isinstance(raw, Mapping):
            raw = np.concatenate([raw[key] for key in self.observation_keys], axis=-1)
        return np.asarray(raw, np.float32)


@dataclass(frozen=True, slots=True)
class Step:
    """What one tick of the simulation gave.

    Attributes:
        observation: the next one. Shape (O,).
        reward: the environment's own.
        terminated: the episode ended for a reason of the task's.
        truncated: the episode was cut at the horizon.
        success: whether the task counts as solved at this tick.
    """

    observation: NDArray[np.float32]
    reward: float
    terminated: bool
    truncated: bool
    success: bool

    @property
    def done(self) -> bool:
        """Whether the episode is over."""
        return self.terminated or self.truncated


class TaskEnv:
    """One simulation of a task."""

    def __init__(self, task: Task) -> None:
        """Builds the environment and checks that its sizes are those of the catalogue."""
        self.task = task
        with contextlib.redirect_stderr(io.StringIO()):  # it prints a notice about Adroit tasks at import
            import gymnasium_robotics
        gymnasium.register_envs(gymnasium_robotics)
        self.env: gymnasium.Env[Any, Any] = gymnasium.make(
            task.gym_id, max_episode_steps=task.horizon, **task.make_arguments
        )
        sizes = self.env.action_space.shape, self.reset(0).shape
        if sizes != ((len(task.action),), (len(task.observation),)):
            raise ContractError(
                where=f"task {task.name}",
                expected=f"{len(task.action)} actions and {len(task.observation)} observations",
                got=f"{sizes[0]} and {sizes[1]} from {task.gym_id}",
                remedy="install the versions that pyproject.toml names",
            )

    def reset(self, seed: int) -> NDArray[np.float32]:
        """Begins an episode; the seed decides everything random in it. Shape (O,)."""
        self.raw, _ = self.env.reset(seed=seed)
        return self.task.flatten(self.raw)

    def step(self, action: NDArray[np.float32]) -> Step:
        """One tick with an action of shape (A,)."""
        self.raw, reward, terminated, truncated, info = self.env.step(action)
        success = self.task.success_key is not None and bool(info[self.task.success_key])
        return Step(self.task.flatten(self.raw), float(reward), bool(terminated), bool(truncated), success)

    def close(self) -> None:
        """Frees the simulation."""
        self.env.close()


def episode_seed(seed: int, episode: int) -> int:
    """The reset seed of an episode: different seeds share no episodes, whatever their numbers."""
    return int(np.random.SeedSequence([seed, episode]).generate_state(1)[0])
