"""A task as data: a simulated robot, its signals, its success and its safe action.

`env.TaskEnv` runs the simulation that a `Task` describes.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import gymnasium
import numpy as np
from numpy.typing import NDArray

from odeploy_runtime.errors import ContractError, UsageError
from odeploy_runtime.policy_file.actuation import Actuation
from odeploy_runtime.signals import Signal, task_digest

RawObservation = NDArray[np.float64] | Mapping[str, Any]
MakeEnv = Callable[..., "gymnasium.Env[Any, Any]"]

_NAME = re.compile(r"[A-Za-z0-9][\w.:+-]*")  # part of file names and of one line of text


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

    Name, signals, rate and horizon are required, and one of `gym_id`, `entry_point` and `make` to simulate it.

    Attributes:
        name: name in tables, traces and policy files.
        observation: signals of the flat observation, in order. Length O.
        action: signals of the action, in order, each with limits. Length A.
        rate_hz: the task's own control rate, at which simulated and wall-clock time agree.
        horizon: ticks after which an episode is truncated.
        safe_action: command when there is nothing better. Length A. By default 0, or where 0 is outside the limits
            their middle.
        gym_id: gymnasium id of the environment.
        summary: one line for `odeploy tasks`.
        physics_step_s: step of the physics inside a tick; None for a task without physics.
        paper: the paper that has the task, and its name there.
        differs: differences from the paper's task.
        observation_keys: keys of a dictionary observation, in the order of concatenation.
        success_key: key of success in `info`; None for a task scored by the return.
        package: package that registers `gym_id`.
        entry_point: `module:class` of the environment; `gym_id` is then only its name.
        make: callable that returns the environment, instead of `gym_id` or `entry_point`. It takes
            `make_arguments` and, for rendering, `render_mode`.
        make_arguments: further keyword arguments of the environment.
        noise: meaning of `--noise LEVEL`; None for a task without noise levels.
        camera: camera of the model for films; None for gymnasium's default view.
        thresholds: scores to which learning is timed in tables; empty for the defaults of `scored_by`.
        reference: how a command line names the task if it is not catalogued: a file, a module or a gymnasium id.

    Raises:
        ContractError: the facts contradict each other.
    """

    name: str
    observation: tuple[Signal, ...]
    action: tuple[Signal, ...]
    rate_hz: float
    horizon: int
    safe_action: tuple[float, ...] = ()
    gym_id: str = ""
    summary: str = ""
    physics_step_s: float | None = None
    paper: str = "–"
    differs: str = "–"
    observation_keys: tuple[str, ...] = ()
    success_key: str | None = None
    package: str = "gymnasium"
    entry_point: str | None = None
    make: MakeEnv | None = None
    make_arguments: Mapping[str, Any] = field(default_factory=dict)
    noise: NoiseScale | None = None
    camera: str | None = None
    thresholds: tuple[float, ...] = ()
    reference: str | None = None

    def __post_init__(self) -> None:
        """Fill in the safe action, and check that the facts fit together."""
        _require_facts(self)
        if not self.safe_action:
            object.__setattr__(self, "safe_action", resting(self.action))
        _require_safe(self)

    @cached_property
    def observation_names(self) -> tuple[str, ...]:
        """Names of the observation's signals, in order."""
        return tuple(s.name for s in self.observation)

    @cached_property
    def action_names(self) -> tuple[str, ...]:
        """Names of the action's signals, in order."""
        return tuple(s.name for s in self.action)

    @cached_property
    def digest(self) -> str:
        """Digest of signals, limits, rate and horizon, which files store beside the name."""
        return task_digest(self.observation, self.action, self.rate_hz, self.horizon)

    @property
    def simulated(self) -> bool:
        """Whether the task has an environment, and not signals alone."""
        return bool(self.gym_id) or self.entry_point is not None or self.make is not None

    @property
    def argument(self) -> str:
        """Name of the task on a command line, from any folder."""
        return self.reference or self.name

    @property
    def scored_by(self) -> Literal["success", "return"]:
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


def resting(action: Sequence[Signal]) -> tuple[float, ...]:
    """Return 0 for each signal, or the middle of its limits where 0 is outside them."""
    limits = [(s.low, s.high) for s in action]
    return tuple(
        0.0 if low is None or high is None or low <= 0 <= high else (low + high) / 2 for low, high in limits
    )


def _require_facts(task: Task) -> None:
    names = [*task.observation_names], [*task.action_names]
    repeated = next((name for side in names for name in side if side.count(name) > 1), None)
    unlimited = next((s.name for s in task.action if s.low is None or s.high is None), None)
    faults = {
        "name": (_NAME.fullmatch(task.name) is None, "letters, digits and .:+-_", repr(task.name)),
        "observation": (not task.observation, "at least one signal", "none"),
        "action": (not task.action, "at least one signal", "none"),
        "rate_hz": (not 0 < task.rate_hz <= 10_000, "a rate above 0 and up to 10000 Hz", f"{task.rate_hz:g}"),
        "horizon": (task.horizon < 1, "at least one tick", str(task.horizon)),
        "signals": (repeated is not None, "a name of its own for each signal", f"{repeated} twice"),
        "limits": (unlimited is not None, "low and high of each action signal", f"{unlimited} without them"),
    }
    for fact, (wrong, expected, got) in faults.items():
        if wrong:
            raise ContractError(
                where=f"task {task.name}, {fact}", expected=expected, got=got, remedy="correct the task"
            )


def _require_safe(task: Task) -> None:
    if len(task.safe_action) != len(task.action):
        raise ContractError(
            where=f"task {task.name}, safe_action",
            expected=f"{len(task.action)} numbers, one for each action signal",
            got=str(len(task.safe_action)),
            remedy="correct the task",
        )
    for signal, value in zip(task.action, task.safe_action, strict=True):
        low, high = signal.low, signal.high
        assert low is not None  # checked above
        assert high is not None
        if not low <= value <= high:
            raise ContractError(
                where=f"task {task.name}, safe_action of {signal.name}",
                expected=f"a value within its limits, {low:g} to {high:g}",
                got=f"{value:g}",
                remedy="correct the task",
            )
