"""Vectors of a task's simulations, with gymnasium's vector interface.

Arrays are flat float32.

When an episode ends, the next one begins in the same step, so every row of every step is a transition.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium.error import AlreadyPendingCallError, ClosedEnvironmentError, NoAsyncCallError, ResetNeeded
from gymnasium.spaces import Box
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from odeploy_runtime.errors import ContractError, UsageError
from odeploy_runtime.signals import highs, lows
from odeploy_sim.tasks.task import Task
from odeploy_sim.tasks.vector_block import Block, row_type

STEP, RESET = b"s", b"r"
Stepped = tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]


class TaskVectorEnv(VectorEnv[NDArray[np.float32], NDArray[np.float32], NDArray[Any]]):
    """N simulations of a task. Observations (N, O) and actions (N, A) are float32.

    Returned arrays are copies. Episode k of environment i is reset with `episode_seed(seed, k N + i)`: no two
    episodes share random numbers, and the seed determines every bit for any number of workers.

    `info` describes the last tick: `success` and `invalid` (the simulation broke: terminated, reward 0, not a
    state to learn from), both bool (N,). If episodes ended, it also has

    - `final_obs`: object array (N,) of their last observations, each of shape (O,), None in other rows. The
      returned observation is the first of the next episode. A truncated episode's value is bootstrapped from it;
    - `episode`: `r`, returns, and `l`, lengths in ticks; 0 in other rows.

    Each key has gymnasium's mask beside it, with a leading underscore.

    A learner may work between `step_async` and `step_wait`. To keep both it and the workers busy, step two
    vectors of different seeds in turn.

    Attributes:
        task: the simulated task.
        invalid_episodes: number of episodes in which the simulation broke.
    """

    metadata: dict[str, Any] = {"autoreset_mode": AutoresetMode.SAME_STEP}  # noqa: RUF012 (gymnasium's)

    def __init__(self, task: Task, seed: int, rows: NDArray[np.void]) -> None:
        self.task, self.num_envs, self.invalid_episodes = task, len(rows), 0
        self.single_observation_space = Box(-np.inf, np.inf, (len(task.observation),), np.float32)
        self.single_action_space = Box(lows(task.action), highs(task.action), dtype=np.float32)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self._rows, self._pending = rows, False
        self._rows["seed"] = _checked(seed)
        self._rows["episode"] = np.arange(self.num_envs) - self.num_envs  # the number before the first
        self._low, self._high = self.single_action_space.low, self.single_action_space.high
        self._returns, self._lengths = np.zeros(self.num_envs), np.zeros(self.num_envs, np.int64)
        self._everywhere = np.ones(self.num_envs, np.bool_)
        self._everywhere.flags.writeable = False

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Begin an episode in every environment: a seed's first one, or the next one.

        Raises:
            UsageError: options are given, or a seed that is not an unsigned 64-bit number.
        """
        if options:
            raise UsageError(
                where="reset of a vector",
                expected="no options",
                got=", ".join(options),
                remedy="leave them out; episodes that end are reset automatically",
            )
        self._check_idle()
        if seed is None:
            self._rows["episode"] += self.num_envs
        else:
            self._rows["seed"] = _checked(seed)
            self._rows["episode"] = np.arange(self.num_envs)
        self._returns[:], self._lengths[:] = 0, 0
        self._start(RESET)
        self._finish()
        return self._rows["observation"].copy(), {}

    def step(self, actions: NDArray[np.float32]) -> Stepped:
        """Step every environment by one tick.

        Args:
            actions: clipped to their limits. Shape (N, A).

        Returns:
            Observations (N, O), rewards float64 (N,), terminated bool (N,), truncated bool (N,), and info.

        Raises:
            ContractError: actions of another shape.
            WorkerError: a worker died or does not answer; the vector is closed.
        """
        self.step_async(actions)
        return self.step_wait()

    def step_async(self, actions: NDArray[np.float32]) -> None:
        """Start a step in the workers; the caller is free until `step_wait`."""
        self._check_idle()
        if self._rows["episode"][0] < 0:
            raise ResetNeeded("a vector is reset before its first step")
        actions = np.asarray(actions, np.float32)
        if actions.shape != self.action_space.shape:
            raise ContractError(
                where=f"actions for {self.num_envs} × {self.task.name}",
                expected=f"shape {self.action_space.shape}",
                got=f"{actions.shape}",
                remedy="give one row for each environment",
            )
        np.clip(actions, self._low, self._high, out=self._rows["action"])
        self._start(STEP)
        self._pending = True

    def step_wait(self) -> Stepped:
        """Wait for the step that `step_async` started; return the same as `step`."""
        self._check_open()
        if not self._pending:
            raise NoAsyncCallError("step_wait without a step_async before it", "step")
        self._finish()
        self._pending = False
        rows = self._rows
        rewards, terminated, truncated = rows["reward"].copy(), rows["terminated"].copy(), rows["truncated"].copy()
        info: dict[str, Any] = {"success": rows["success"].copy(), "invalid": rows["invalid"].copy()}
        info["_success"] = info["_invalid"] = self._everywhere
        self._returns += rewards
        self._lengths += 1
        ended = terminated | truncated
        if ended.any():
            self._report_ends(info, ended)
        return rows["observation"].copy(), rewards, terminated, truncated, info

    def _report_ends(self, info: dict[str, Any], ended: NDArray[np.bool_]) -> None:
        final = np.full(self.num_envs, None, object)
        for i in np.flatnonzero(ended):
            final[i] = self._rows["final_observation"][i].copy()
        returns, lengths = np.where(ended, self._returns, 0.0), np.where(ended, self._lengths, 0)
        info |= {
            "final_obs": final,
            "_final_obs": ended,
            "episode": {"r": returns, "l": lengths},
            "_episode": ended,
        }
        self._returns[ended], self._lengths[ended] = 0, 0
        self.invalid_episodes += int(info["invalid"].sum())

    def _check_open(self) -> None:
        if self.closed:
            raise ClosedEnvironmentError(f"the vector of {self.task.name} is closed")

    def _check_idle(self) -> None:
        self._check_open()
        if self._pending:
            raise AlreadyPendingCallError("a step is under way; step_wait ends it", "step")

    def _start(self, command: bytes) -> None:
        """Start a step or a reset in all simulations."""
        raise NotImplementedError

    def _finish(self) -> None:
        """Wait until all have finished it."""
        raise NotImplementedError


class SerialVectorEnv(TaskVectorEnv):
    """Simulations in this process, stepped one after another by `step_wait`."""

    def __init__(self, task: Task, envs: int, seed: int, noise_level: float, arguments: Mapping[str, Any]) -> None:
        super().__init__(task, seed, np.zeros(envs, row_type(task)))
        self._block = Block(task, noise_level, arguments, self._rows, envs)

    def close_extras(self) -> None:
        """Free the simulations."""
        if hasattr(self, "_block"):
            self._block.close()

    def _start(self, command: bytes) -> None:
        self._command = command

    def _finish(self) -> None:
        self._block.step() if self._command == STEP else self._block.reset()


def _checked(seed: int) -> int:
    if not 0 <= seed < 2**64:
        raise UsageError(
            where="seed of a vector", expected="0 to 2⁶⁴ - 1", got=str(seed), remedy="choose one within"
        )
    return seed
