"""A task: a simulated robot, what it senses and commands, when it has succeeded, and what is safe.

`Task` is data; `TaskEnv` is the running simulation, which speaks flat float32 vectors in the order of the
task's signals, so that the rest of the project never meets an observation dictionary.
"""

import contextlib
import importlib
import io
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import gymnasium
import mujoco
import numpy as np
from gymnasium.envs.registration import EnvSpec
from numpy.typing import NDArray

from odeploy_runtime.errors import ContractError, UsageError
from odeploy_runtime.policy_file.actuation import Actuation
from odeploy_runtime.signals import Signal

RawObservation = NDArray[np.float64] | Mapping[str, Any]

_BAD_STATE = int(mujoco.mjtWarning.mjWARN_BADQPOS)  # and those after it: velocity, acceleration, control
_NO_WARNINGS = np.zeros(0, np.int32)


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


@dataclass(frozen=True, slots=True)
class Step:
    """What one tick of the simulation gave.

    Attributes:
        observation: the next one. Shape (O,).
        reward: the environment's own.
        terminated: the episode ended for a reason of the task's.
        truncated: the episode was cut at the horizon.
        success: whether the task counts as solved at this tick.
        invalid: the simulation broke (a number that is not finite, or a state that MuJoCo gave up on); the
            observation is the last good one, the reward 0, and the episode is over.
    """

    observation: NDArray[np.float32]
    reward: float
    terminated: bool
    truncated: bool
    success: bool
    invalid: bool = False

    @property
    def done(self) -> bool:
        """Whether the episode is over."""
        return self.terminated or self.truncated


class TaskEnv:
    """One simulation of a task.

    Attributes:
        env: the gymnasium environment.
        raw: its last observation, as it gave it.
        invalid_episodes: how many were ended because the simulation broke.
    """

    def __init__(
        self, task: Task, noise_level: float = 1.0, render_mode: str | None = None, **arguments: Any
    ) -> None:
        """Builds the environment and checks that its sizes are those of the catalogue.

        Args:
            task: which.
            noise_level: see `Task.noise`.
            render_mode: as gymnasium has it: None, `rgb_array` or `human`.
            arguments: keyword arguments of the environment that differ from the task's.
        """
        self.task = task
        self.invalid_episodes = 0
        made = {**task.arguments(noise_level), **arguments}
        if render_mode is not None:
            made |= {"render_mode": render_mode} | ({"camera_name": task.camera} if task.camera else {})
        with contextlib.redirect_stderr(io.StringIO()):  # gymnasium-robotics prints a notice about Adroit tasks
            self.env: gymnasium.Env[Any, Any] = gymnasium.make(
                _spec(task), max_episode_steps=task.horizon, disable_env_checker=True, **made
            )
        mujoco.set_mju_user_warning(lambda _: None)  # it would write MUJOCO_LOG.TXT wherever we are; we count
        self._data = physics_data(self.env)
        # A view of the counters of states that MuJoCo reset, and controls that it zeroed, without a word.
        self._warnings = _NO_WARNINGS if self._data is None else self._data.warning.number[_BAD_STATE:]
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
        self._observation = self.task.flatten(self.raw)
        self._warnings[:] = 0
        return self._observation

    def step(self, action: NDArray[np.float32]) -> Step:
        """One tick with an action of shape (A,)."""
        raw, reward, terminated, truncated, info = self.env.step(action)
        observation = self.task.flatten(raw)
        if not (np.isfinite(observation).all() and math.isfinite(reward)) or self._warnings.any():
            return self._broken()
        self.raw, self._observation = raw, observation
        success = self.task.success_key is not None and bool(info[self.task.success_key])
        return Step(observation, float(reward), bool(terminated), bool(truncated), success)

    def render(self) -> NDArray[np.uint8]:
        """A picture of the present state, which it leaves as it was. Shape (height, width, 3)."""
        if self._data is None:
            return np.asarray(self.env.render(), np.uint8)
        # Some environments move markers and recompute contacts to be drawn, which warm-starts the next step.
        model, kind = self._data.model, mujoco.mjtState.mjSTATE_INTEGRATION
        before = np.empty(mujoco.mj_stateSize(model, kind))
        mujoco.mj_getState(model, self._data, before, kind)
        picture = np.asarray(self.env.render(), np.uint8)
        mujoco.mj_setState(model, self._data, before, kind)
        return picture

    def close(self) -> None:
        """Frees the simulation."""
        self.env.close()

    def _broken(self) -> Step:
        self.invalid_episodes += 1
        return Step(self._observation, 0.0, terminated=True, truncated=False, success=False, invalid=True)


def episode_seed(seed: int, episode: int) -> int:
    """The reset seed of an episode: different seeds share no episodes, whatever their numbers."""
    return int(np.random.SeedSequence([seed, episode]).generate_state(1)[0])


def _spec(task: Task) -> EnvSpec | str:
    if task.entry_point is not None:
        return EnvSpec(task.gym_id, entry_point=task.entry_point)
    gymnasium.register_envs(importlib.import_module(task.package))
    return task.gym_id


def physics_data(env: gymnasium.Env[Any, Any]) -> Any:
    """The `MjData` inside an environment; None where there is no MuJoCo."""
    inside: Any = env.unwrapped
    for name in ("point_env", "robot_env"):  # mazes and the kitchen keep their robot in an environment of its own
        inside = getattr(inside, name, inside)
    data = inside.data if hasattr(inside, "data") else getattr(getattr(inside, "physics", None), "data", None)
    return getattr(data, "ptr", data)  # dm_control wraps MuJoCo's own
