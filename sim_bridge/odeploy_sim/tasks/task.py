"""A task: a simulated robot, what it senses and commands, when it has succeeded, and what is safe.

`Task` is data. The simulation that it describes is `env.TaskEnv`.
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
    """How a task's noise level reaches its environment.

    Attributes:
        argument: keyword of the environment that it sets.
        unit: value of that keyword at level 1.
        highest: level beyond which the task makes no sense; the lowest is 0.
        scales: what becomes noisier, for people.
    """

    argument: str
    unit: float
    highest: float
    scales: str


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
        physics_step_s: of the simulation inside one tick; None where there is no physics.
        horizon: ticks after which an episode is cut.
        safe_action: what to command when there is nothing better. A numbers.
        paper: which paper has it and what it calls it.
        differs: how ours differs from the paper's.
        observation_keys: of a dictionary observation, in the order in which they are concatenated.
        success_key: key of `info` that tells success; None where the score is the return.
        package: what registers `gym_id`.
        entry_point: `module:class` of an environment of our own; `gym_id` is then only its name.
        make_arguments: further keyword arguments of the environment.
        noise: what `--noise LEVEL` scales; None where the task knows no levels.
        camera: name of the model's camera that films it; None for gymnasium's own view.
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

    def with_actuation(self, actuation: Actuation | None) -> "Task":
        """The same with what a policy file says is beside the motors, where the robot has anything there."""
        if actuation is None or "actuation" not in self.make_arguments:
            return self
        return replace(self, make_arguments={**self.make_arguments, "actuation": actuation})

    def flatten(self, raw: RawObservation) -> NDArray[np.float32]:
        """A raw observation, or a stack of them, as one flat array. Shape (..., O)."""
        if isinstance(raw, Mapping):
            parts = [np.asarray(raw[key]) for key in self.observation_keys]
            depth = max(part.ndim for part in parts)  # a pure number lacks the axis that vectors have
            raw = np.concatenate([p if p.ndim == depth else p[..., None] for p in parts], axis=-1)
        return np.asarray(raw, np.float32)

    def arguments(self, noise_level: float) -> dict[str, Any]:
        """Keyword arguments of the environment at a noise level; 1 is the task as it is catalogued.

        Raises:
            UsageError: a level that the task does not know.
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
