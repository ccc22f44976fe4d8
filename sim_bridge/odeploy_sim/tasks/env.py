"""The simulation of a task: flat float32 vectors, in the order of its signals."""

import contextlib
import importlib
import io
import math
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import gymnasium
import mujoco
import numpy as np
from gymnasium.envs.registration import EnvSpec
from numpy.typing import NDArray

from odeploy_runtime.errors import ContractError, MissingError, OdeployError, first_line
from odeploy_runtime.robot.plant import episode_seed as episode_seed  # of plants and of tasks alike
from odeploy_sim.tasks.task import Task

_BAD_STATE = int(mujoco.mjtWarning.mjWARN_BADQPOS)  # and those after it: velocity, acceleration, control
_NO_WARNINGS = np.zeros(0, np.int32)


@dataclass(frozen=True, slots=True)
class Step:
    """Result of one tick.

    Attributes:
        observation: next observation. Shape (O,).
        reward: the environment's own reward.
        terminated: whether the task ended the episode.
        truncated: whether the horizon ended it.
        success: whether the task counts as solved at this tick.
        invalid: whether the simulation broke: a number is not finite, or MuJoCo reset an unstable state. The
            observation is then the last valid one, the reward 0, and the episode is over.
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
        task: the task.
        env: the gymnasium environment.
        raw: its latest observation, not flattened.
        invalid_episodes: number of episodes in which the simulation broke.
    """

    def __init__(
        self, task: Task, noise_level: float = 1.0, render_mode: str | None = None, **arguments: Any
    ) -> None:
        """Build the environment and check its sizes against the task.

        Args:
            task: the task.
            noise_level: see `Task.noise`.
            render_mode: gymnasium's render mode: None, `rgb_array` or `human`.
            arguments: keyword arguments of the environment that override the task's.
        """
        self.task = task
        self.invalid_episodes = 0
        made = {**task.arguments(noise_level), **arguments}
        if render_mode is not None:
            made |= {"render_mode": render_mode} | ({"camera_name": task.camera} if task.camera else {})
        # gymnasium-robotics prints a notice about Adroit tasks.
        with contextlib.redirect_stderr(io.StringIO()), _faults(task, "make"):
            self.env: gymnasium.Env[Any, Any] = gymnasium.make(
                _spec(task), max_episode_steps=task.horizon, disable_env_checker=True, **made
            )
        mujoco.set_mju_user_warning(lambda _: None)  # MuJoCo would write MUJOCO_LOG.TXT into the working directory
        self._data = physics_data(self.env)
        # View of the counters of states that MuJoCo reset and of controls that it zeroed, both silently.
        self._warnings = _NO_WARNINGS if self._data is None else self._data.warning.number[_BAD_STATE:]
        sizes = self.env.action_space.shape, self.reset(0).shape
        if sizes != ((len(task.action),), (len(task.observation),)):
            raise ContractError(
                where=f"task {task.name}",
                expected=f"{len(task.action)} actions and {len(task.observation)} observations",
                got=f"{sizes[0]} and {sizes[1]} from {task.gym_id or 'the environment'}",
                remedy="install the versions that pyproject.toml names"
                if task.reference is None
                else "correct the task's signals",
            )
        _require_within(task, self.env.action_space)

    def reset(self, seed: int) -> NDArray[np.float32]:
        """Begin an episode, whose randomness the seed determines; return the observation.

        Shape (O,).
        """
        with _faults(self.task, "reset"):
            self.raw, _ = self.env.reset(seed=seed)
            self._observation = self.task.flatten(self.raw)
        self._warnings[:] = 0
        return self._observation

    def step(self, action: NDArray[np.float32]) -> Step:
        """Step by one tick with an action of shape (A,)."""
        try:
            raw, reward, terminated, truncated, info = self.env.step(action)
            observation = self.task.flatten(raw)
        except Exception as error:  # no context manager here: it costs a microsecond
            raise _fault(self.task, "step", error) from error
        if not (np.isfinite(observation).all() and math.isfinite(reward)) or self._warnings.any():
            return self._broken()
        self.raw, self._observation = raw, observation
        success = self.task.success_key is not None and self._success(info)
        return Step(observation, float(reward), bool(terminated), bool(truncated), success)

    def render(self) -> NDArray[np.uint8]:
        """Render the current state without changing it. Shape (height, width, 3)."""
        with _faults(self.task, "render"):
            return self._render()

    def _render(self) -> NDArray[np.uint8]:
        if self._data is None:
            return np.asarray(self.env.render(), np.uint8)
        # Some environments move markers and recompute contacts for rendering, which warm-starts the next step.
        model, kind = self._data.model, mujoco.mjtState.mjSTATE_INTEGRATION
        before = np.empty(mujoco.mj_stateSize(model, kind))
        mujoco.mj_getState(model, self._data, before, kind)
        picture = np.asarray(self.env.render(), np.uint8)
        mujoco.mj_setState(model, self._data, before, kind)
        return picture

    def close(self) -> None:
        """Free the simulation."""
        self.env.close()

    def _success(self, info: dict[str, Any]) -> bool:
        key = self.task.success_key
        if key not in info:
            raise ContractError(
                where=f"task {self.task.name}, success_key",
                expected=f"{key!r} in the info of each step",
                got=", ".join(map(repr, info)) or "an empty info",
                remedy="correct success_key, or leave it out to score by the return",
            )
        return bool(info[key])

    def _broken(self) -> Step:
        self.invalid_episodes += 1
        return Step(self._observation, 0.0, terminated=True, truncated=False, success=False, invalid=True)


def _require_within(task: Task, space: Any) -> None:
    """Raise a ContractError if an action signal's limits exceed the environment's own."""
    for signal, low, high in zip(task.action, space.low, space.high, strict=True):
        if signal.low is None or signal.high is None or signal.low < low - 1e-5 or signal.high > high + 1e-5:
            raise ContractError(
                where=f"task {task.name}, action {signal.name}",
                expected=f"limits within the environment's, {low:g} to {high:g}",
                got=f"{signal.low} to {signal.high}",
                remedy="correct the task's signals",
            )


def _spec(task: Task) -> EnvSpec | str:
    entry = task.entry_point or task.make
    if entry is not None:
        return EnvSpec(task.gym_id or "odeploy/Task-v0", entry_point=entry)
    if not task.gym_id:
        raise MissingError(
            where=f"task {task.name}",
            expected="an environment to simulate",
            got="signals alone",
            remedy="name one in the task: gym_id or make; without a simulator, export and serve still work",
        )
    gymnasium.register_envs(importlib.import_module(task.package))
    return task.gym_id


@contextlib.contextmanager
def _faults(task: Task, action: str) -> Iterator[None]:
    """Report an exception of the environment's own code as the task's."""
    try:
        yield
    except Exception as error:
        raise _fault(task, action, error) from error


def _fault(task: Task, action: str, error: Exception) -> OdeployError:
    """Return an environment's exception as an error that names its line."""
    if isinstance(error, OdeployError):
        return error
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return ContractError(
        where=f"task {task.name}, {action} at {frame.filename}:{frame.lineno}",
        expected=f"an environment whose {action} raises nothing",
        got=f"{type(error).__name__}: {first_line(error)}",
        remedy="correct that line",
    )


def physics_data(env: gymnasium.Env[Any, Any]) -> Any:
    """Return the `MjData` of an environment; None for an environment without MuJoCo."""
    inside: Any = env.unwrapped
    for name in ("point_env", "robot_env"):  # mazes and the kitchen keep their robot in an environment of its own
        inside = getattr(inside, name, inside)
    data = inside.data if hasattr(inside, "data") else getattr(getattr(inside, "physics", None), "data", None)
    return getattr(data, "ptr", data)  # dm_control wraps MuJoCo's own
