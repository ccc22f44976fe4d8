"""A task as data: a simulated robot, its signals, its success and its safe action.

`env.TaskEnv` runs the simulation that a `Task` describes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from odeploy_runtime.errors import UsageError
from odeploy_runtime.policy_file.actuation import Actuation
from odeploy_runtime.signals import Signal

RawObservation = NDArray[np.float64] | Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class NoiseScale:
    """Scale of a task's noise level.

    Attributes:
        argument: keyword argument of the environment that the level sets.
        unit: value of that argument at level 1.
        highest: highest sensible level; the lowest is 0.
        scales: description of what becomes noisier.
    """

    argument: str
    unit: float
    highest: float
    scales: str


@dataclass(frozen=True)
class Task:
    """A task: the robot's signals, rate and horizon, and its environment.

    Attributes:
        name: name on the command line.
        gym_id: gymnasium id of the environment.
        summary: one line for `odeploy tasks`.
        observation: signals of the flat observation, in order. Length O.
        action: signals of the action, in order. Length A.
        rate_hz: the task's own control rate, at which simulated and wall-clock time agree.
        physics_step_s: step of the physics inside a tick; None for a task without physics.
        horizon: ticks after which an episode is truncated.
        safe_action: command when there is nothing better. Length A.
        paper: the paper that has the task, and its name there.
        differs: differences from the paper's task.
        observation_keys: keys of a dictionary observation, in the order of concatenation.
        success_key: key of success in `info`; None for a task scored by the return.
        package: package that registers `gym_id`.
        entry_point: `module:class` of an environment of odeploy's own; `gym_id` is then only its name.
        make_arguments: further keyword arguments of the environment.
        noise: meaning of `--noise LEVEL`; None for a task without noise levels.
        camera: camera of the model for films; None for gymnasium's default view.
        thresholds: scores to which learning is timed in tables; empty for the defaults of `scored_by`.
    """

    name: str
    gym_id: str
    summary: str
    observation: tuple[Signal, ...]
    action: tuple[Signal, ...]
    rate_hz: float
    physics_step_s: float | None
    horizon: int
    safe_action: tuple[float, ...]
    paper: str
    differs: str
    observation_keys: tuple[str, ...] = ()
    success_key: str | None = None
    package: str = "gymnasium"
    entry_point: str | None = None
    make_arguments: Mapping[str, Any] = field(default_factory=dict)
    noise: NoiseScale | None = None
    camera: str | None = None
    thresholds: tuple[float, ...] = ()

    @cached_property
    def observation_names(self) -> tuple[str, ...]:
        """Names of the observation's signals, in order."""
        return tuple(s.name for s in self.observation)

    @cached_property
    def action_names(self) -> tuple[str, ...]:
        """Names of the action's signals, in order."""
        return tuple(s.name for s in self.action)

    @property
    def scored_by(self) -> str:
        """Measure of an episode: `success` or `return`."""
        return "return" if self.success_key is None else "success"

    def with_actuation(self, actuation: Actuation | None) -> "Task":
        """Return the task with a file's actuation, if its robot has an actuator loop."""
        if actuation is None or "actuation" not in self.make_arguments:
            return self
        return replace(self, make_arguments={**self.make_arguments, "actuation": actuation})

    def flatten(self, raw: RawObservation) -> NDArray[np.float32]:
        """Flatten a raw observation, or a stack of them. Shape (..., O)."""
        if isinstance(raw, Mapping):
            parts = [np.asarray(raw[key]) for key in self.observation_keys]
            depth = max(part.ndim for part in parts)  # scalars lack the axis of vectors
            raw = np.concatenate([p if p.ndim == depth else p[..., None] for p in parts], axis=-1)
        return np.asarray(raw, np.float32)

    def arguments(self, noise_level: float) -> dict[str, Any]:
        """Return the environment's keyword arguments at a noise level.

        Level 1 is the task as catalogued.

        Raises:
            UsageError: the task has no such level.
        """
        if noise_level == 1:
            return dict(self.make_arguments)
        if self.noise is None or not 0 <= noise_level <= self.noise.highest:
            raise UsageError(
                where=f"--noise {noise_level:g}",
                expected=f"1, as {self.name} has no noise to scale"
                if self.noise is None
                else f"a level from 0 to {self.noise.highest:g} for {self.name}, which scales {self.noise.scales}",
                got=f"{noise_level:g}",
                remedy="leave the option out" if self.noise is None else "choose one within",
            )
        return {**self.make_arguments, self.noise.argument: self.noise.unit * noise_level}
