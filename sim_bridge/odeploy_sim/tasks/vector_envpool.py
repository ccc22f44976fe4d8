"""A vector over EnvPool, whose C++ threads step some robots faster than Python.

EnvPool has its own MuJoCo and models, 950 MB in all, so it is an extra. For the robots in `POOLS` its dynamics
equal gymnasium's bit by bit: the tests play whole episodes from the same start on both.
"""

import importlib
from typing import Any

import numpy as np

from odeploy_runtime.errors import ContractError, MissingError
from odeploy_sim.tasks.env import episode_seed
from odeploy_sim.tasks.task import Task
from odeploy_sim.tasks.vector_block import row_type
from odeploy_sim.tasks.vector_env import RESET, TaskVectorEnv

# Tasks that EnvPool has too, with its names of them.
POOLS = {
    "halfcheetah": "HalfCheetah-v5",
    "hopper": "Hopper-v5",
    "humanoid": "Humanoid-v5",
    "walker2d": "Walker2d-v5",
}


class EnvpoolVectorEnv(TaskVectorEnv):
    """N simulations in EnvPool's threads.

    They run between `step_async` and `step_wait`.

    It differs from the other vectors in four points:

    - EnvPool draws the starts itself. A seed determines every bit for any number of threads, but the starts are
      not those of the other backends. A reset with a seed rebuilds the pool, at some 4 ms for each environment.
    - Rewards are rounded to float32, and may differ from gymnasium's in their last bit.
    - `invalid` reports only numbers that are not finite. It misses a state that MuJoCo reset to the model's
      default while all numbers stayed finite, since EnvPool hides MuJoCo's warning counters. MuJoCo's warnings
      are printed, and appended to MUJOCO_LOG.TXT in the working directory.
    - Ctrl-C during a step or reset closes the vector, since EnvPool's answer is lost.
    """

    def __init__(self, task: Task, envs: int, seed: int, threads: int) -> None:
        """Find the pool's models; the first reset builds the pool.

        Args:
            task: one of `POOLS`.
            envs: number of environments, N.
            seed: seed of the episodes until `reset` gives another one.
            threads: number of threads that share the environments.

        Raises:
            MissingError: EnvPool is not installed, or has no such task.
            ContractError: its sizes do not match the catalogue.
        """
        super().__init__(task, seed, np.zeros(envs, row_type(task)))
        if task.name not in POOLS:
            raise MissingError(
                where="backend envpool",
                expected=f"a task that EnvPool has too: {', '.join(POOLS)}",
                got=task.name,
                remedy="leave the backend out",
            )
        try:
            self._envpool = importlib.import_module("envpool")
        except ModuleNotFoundError as error:
            if error.name != "envpool":
                raise
            raise MissingError(
                where="backend envpool",
                expected="the package envpool",
                got="none",
                remedy="run: pip install 'odeploy[envpool]'",
            ) from None
        self._threads = threads
        self._pool: Any = None
        spec = self._envpool.make_spec(POOLS[task.name])
        sizes = spec.action_space.shape, spec.observation_space.shape
        if sizes != (self.single_action_space.shape, self.single_observation_space.shape):
            raise ContractError(
                where=f"task {task.name}",
                expected=f"{len(task.action)} actions and {len(task.observation)} observations",
                got=f"{sizes[0]} and {sizes[1]} from EnvPool's {POOLS[task.name]}",
                remedy="install the version of EnvPool that pyproject.toml names",
            )

    def close_extras(self) -> None:
        """End the threads, after the current step."""
        self._pool = None

    def _start(self, command: bytes) -> None:
        self._resetting = command == RESET
        if not self._resetting:
            self._pool.send(self._rows["action"])
            return
        if self._rows["episode"][0] == 0:  # the first episode of a seed
            self._pool = self._built()
        self._pool.async_reset()

    def _finish(self) -> None:
        try:
            if self._resetting:
                self._rows["observation"], _ = self._pool.recv(reset=True)
            else:
                self._receive_step()
        except BaseException:
            self.close()  # waiting again for a lost answer would never end
            raise

    def _built(self) -> Any:
        # From one seed EnvPool derives seed + i for environment i, which would repeat those of neighbouring seeds.
        seed = int(self._rows["seed"][0])
        seeds = [episode_seed(seed, i) >> 1 for i in range(self.num_envs)]  # EnvPool takes 31 bits
        return self._envpool.make_gymnasium(
            POOLS[self.task.name],
            num_envs=self.num_envs,
            num_threads=self._threads,
            seed=seeds,
            # Never reached: EnvPool would report a fall on the last tick as a truncation.
            max_episode_steps=self.task.horizon + 1,
            **self.task.make_arguments,
        )

    def _receive_step(self) -> None:
        rows = self._rows
        raw, rewards, terminated, _, _ = self._pool.recv()
        observations = raw.astype(np.float32)
        invalid = ~(np.isfinite(observations).all(axis=1) & np.isfinite(rewards))
        np.copyto(observations, rows["observation"], where=invalid[:, None])  # the last valid one
        rows["reward"] = np.where(invalid, 0, rewards)
        rows["terminated"], rows["invalid"] = terminated | invalid, invalid
        rows["truncated"] = ~invalid & (self._lengths + 1 == self.task.horizon)
        rows["observation"] = observations
        ended = np.flatnonzero(rows["terminated"] | rows["truncated"])
        if len(ended):
            rows["final_observation"][ended] = observations[ended]
            # At once: otherwise EnvPool would spend their next step on it.
            rows["observation"][ended], _ = self._pool.reset(ended.astype(np.int32))
