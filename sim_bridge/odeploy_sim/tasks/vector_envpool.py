"""A vector over EnvPool, whose C++ threads step some tasks faster than Python.

EnvPool has its own MuJoCo and models, 950 MB in all, so it is an extra. The tasks in `POOLS` are those whose
episodes equal ours from the same start, and whose starts are drawn alike: the tests play both. Its MuJoCo is 3.6;
ours, 3.8, resolves elliptic contacts and welds differently, by up to a centimetre within 50 ticks. With MuJoCo 3.6
on both sides fetch-reach and the kitchen are equal too.
"""

import importlib
import math
from typing import Any

import numpy as np
from gymnasium.spaces import Dict

from odeploy_runtime.errors import ContractError, MissingError
from odeploy_sim.tasks.env import episode_seed
from odeploy_sim.tasks.task import Task
from odeploy_sim.tasks.vector_block import row_type
from odeploy_sim.tasks.vector_env import RESET, TaskVectorEnv

# Tasks that EnvPool has too, with its names of them.
POOLS = {
    "cartpole-balance": "CartpoleBalance-v1",
    "cheetah-run": "CheetahRun-v1",
    "fish-swim": "FishSwim-v1",
    "halfcheetah": "HalfCheetah-v5",
    "hopper": "Hopper-v5",
    "humanoid": "Humanoid-v5",
    "maze-medium": "PointMaze_Medium-v3",
    "point-mass": "PointMassEasy-v1",
    "reacher-easy": "ReacherEasy-v1",
    "reacher-hard": "ReacherHard-v1",
    "walker2d": "Walker2d-v5",
}

_CONTACTS = "EnvPool's MuJoCo 3.6 resolves its contacts differently from 3.8"
_RANGES = "EnvPool has other ranges of starts and goals"
_REASONS = {
    "ant-goal": "EnvPool's ant has no goal",
    "ball-in-cup": "EnvPool's target is larger by the ball's radius",
    "fetch-pick": _RANGES,
    "fetch-reach": _CONTACTS,
    "finger-spin": _CONTACTS,
    "finger-turn-easy": _CONTACTS,
    "finger-turn-hard": _CONTACTS,
    "hand-rotate": _RANGES,
    "kitchen": _CONTACTS,
    "maze-medium-progress": "EnvPool has no reward for progress",
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
                expected=f"one of {', '.join(POOLS)}",
                got=f"{task.name}: {_REASONS.get(task.name.partition(':')[0], 'EnvPool has no such task')}",
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
        sizes = math.prod(spec.action_space.shape), _size(task, spec.observation_space)
        if sizes != (len(task.action), len(task.observation)):
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
                self._rows["observation"] = self.task.flatten(self._pool.recv(reset=True)[0])
            else:
                self._receive_step()
        except BaseException:
            self.close()  # waiting again for a lost answer would never end
            raise

    def _built(self) -> Any:
        # From one seed EnvPool derives seed + i for environment i, which would repeat those of neighbouring seeds.
        seed = int(self._rows["seed"][0])
        in_suite = self.task.gym_id.startswith("dm_control/")  # its arguments are domain and task, as in the name
        seeds = [episode_seed(seed, i) >> 1 for i in range(self.num_envs)]  # EnvPool takes 31 bits
        return self._envpool.make_gymnasium(
            POOLS[self.task.name],
            num_envs=self.num_envs,
            num_threads=self._threads,
            seed=seeds,
            # Never reached: EnvPool would report a fall on the last tick as a truncation.
            max_episode_steps=self.task.horizon + 1,
            **({} if in_suite else self.task.make_arguments),
        )

    def _receive_step(self) -> None:
        rows = self._rows
        raw, rewards, terminated, _, info = self._pool.recv()
        observations = self.task.flatten(raw)
        invalid = ~(np.isfinite(observations).all(axis=1) & np.isfinite(rewards))
        observations = np.where(invalid[:, None], rows["observation"], observations)  # the last valid one
        rows["reward"] = np.where(invalid, 0, rewards)
        rows["terminated"], rows["invalid"] = terminated | invalid, invalid
        rows["truncated"] = ~invalid & (self._lengths + 1 == self.task.horizon)
        if self.task.success_key is not None:
            rows["success"] = ~invalid & (info[self.task.success_key] != 0)
        rows["observation"] = observations
        ended = np.flatnonzero(rows["terminated"] | rows["truncated"])
        if len(ended):
            rows["final_observation"][ended] = observations[ended]
            # At once: otherwise EnvPool would spend their next step on it.
            rows["observation"][ended] = self.task.flatten(self._pool.reset(ended.astype(np.int32))[0])


def _size(task: Task, space: Any) -> int:
    """Return the number of values in an observation."""
    parts: list[Any] = [space[key] for key in task.observation_keys] if isinstance(space, Dict) else [space]
    return sum(math.prod(part.shape) for part in parts)
