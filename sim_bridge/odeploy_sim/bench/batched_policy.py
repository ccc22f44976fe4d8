"""A policy file that plays many episodes side by side in lockstep: one call of its graph answers several robots.

Episode i of a seed has the reset of `tasks.env.episode_seed` and, at each tick, the noise that a server
would draw for it, so a file's score here is what `odeploy score` measures one episode after the other, up to how
rounding at another batch size grows in a closed loop. Two files meet the same episodes.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from odeploy_runtime.errors import ContractError
from odeploy_runtime.inference.noise import NoiseSource
from odeploy_runtime.inference.onnx_policy import open_session
from odeploy_runtime.policy_file.file import PolicyFile
from odeploy_runtime.policy_file.manifest import Manifest
from odeploy_runtime.robot.chunk_playback import ChunkOptions, Chunks
from odeploy_runtime.signals import highs, lows, require_same_names
from odeploy_sim.demonstrations.policy_player import Answer
from odeploy_sim.tasks.env import TaskEnv, episode_seed
from odeploy_sim.tasks.task import Task

LANES = 10  # simulations beside each other


@dataclass(frozen=True)
class Played:
    """What came of the episodes, in their order; those whose simulation broke are left out.

    Attributes:
        returns: sums of the environment's own rewards. Shape (E,).
        successes: whether each ended solved. Shape (E,).
        invalid: episodes that broke.
    """

    returns: NDArray[np.float64]
    successes: NDArray[np.bool_]
    invalid: int


class Lanes:
    """A few simulations of a task, built when first needed and kept from file to file."""

    def __init__(self, task: Task, noise_level: float = 1.0, lanes: int = LANES) -> None:
        self.task, self._noise_level, self._most = task, noise_level, lanes
        self._envs: list[TaskEnv] = []

    def play(
        self,
        file: PolicyFile,
        seed: int,
        episodes: int,
        options: ChunkOptions,
        ended: Callable[[], object] = lambda: None,
    ) -> Played:
        """Plays episodes 0, 1, ... of a seed.

        Args:
            file: who plays.
            seed: of resets and of the policy's noise.
            episodes: how many.
            options: how chunks are played.
            ended: called after each episode.

        Raises:
            ContractError: the policy has other signals than the task, or remembers; all episodes broke.
            UsageError: its horizon is too short for the options.
        """
        answers = _Answers(file, self.task, seed)
        chunking = options.chunking(file.manifest.horizon, paced=False)
        while len(self._envs) < min(self._most, episodes):
            self._envs.append(TaskEnv(self.task, self._noise_level))
        low, high = lows(self.task.action), highs(self.task.action)
        returns, successes, valid = np.zeros(episodes), np.zeros(episodes, bool), np.zeros(episodes, bool)
        waiting = iter(range(episodes))
        running = [_Lane(env, Chunks(chunking)) for env, _ in zip(self._envs, range(episodes), strict=False)]
        for lane in running:
            lane.begin(seed, next(waiting))
        while running:
            answers.give([lane for lane in running if lane.chunks.asks(lane.tick)])
            for lane in list(running):
                played = lane.chunks.at(lane.tick)
                assert played is not None  # each answer is there at once
                step = lane.env.step(np.clip(played.values, low, high))
                lane.observation, lane.tick = step.observation, lane.tick + 1
                returns[lane.episode] += step.reward
                if not step.done:
                    continue
                successes[lane.episode], valid[lane.episode] = step.success, not step.invalid
                ended()
                following = next(waiting, None)
                if following is None:
                    running.remove(lane)
                else:
                    lane.begin(seed, following)
        if not valid.any():
            raise ContractError(
                where=f"{file.path} on {self.task.name}",
                expected="an episode that the simulation survives",
                got=f"{episodes} that broke",
                remedy="look at the policy with `odeploy sim`",
            )
        return Played(returns[valid], successes[valid], int((~valid).sum()))

    def close(self) -> None:
        """Frees the simulations."""
        for env in self._envs:
            env.close()


class _Lane:
    """One simulation with the episode that it plays."""

    def __init__(self, env: TaskEnv, chunks: Chunks[Answer]) -> None:
        self.env, self.chunks = env, chunks

    def begin(self, seed: int, episode: int) -> None:
        self.episode, self.tick = episode, 0
        self.observation = self.env.reset(episode_seed(seed, episode))
        self.chunks.begin()


class _Answers:
    """A file's graph, asked for several lanes at once."""

    def __init__(self, file: PolicyFile, task: Task, seed: int) -> None:
        manifest, where = file.manifest, str(file.path)
        _require_forgetful(manifest, where)
        require_same_names(manifest.observation_names, task.observation_names, f"{where}, observation")
        require_same_names(manifest.action_names, task.action_names, f"{where}, action")
        self._noise, self._wants_noise = NoiseSource(manifest.noise, seed), manifest.noise.mode != "none"
        self._session = open_session(file.data, "cpu", where, rows=LANES)

    def give(self, lanes: list[_Lane]) -> None:
        """Takes each lane's chunk for its observation into its chunks."""
        if not lanes:
            return
        feed = {"observation": np.stack([lane.observation for lane in lanes])}
        if self._wants_noise:
            feed["noise"] = np.concatenate([self._noise.draw(lane.episode, lane.tick) for lane in lanes])
        (actions,) = self._session.run(["action"], feed)
        for lane, values in zip(lanes, actions, strict=True):
            lane.chunks.take_in_virtual_time(Answer(lane.tick, values))


def _require_forgetful(manifest: Manifest, where: str) -> None:
    if manifest.state_size or manifest.frozen is not None or manifest.recipe is not None:
        raise ContractError(
            where=where,
            expected="a policy that answers what is sensed now",
            got="one that also remembers: a state, a chunk or a recipe",
            remedy="score it with `odeploy score`",
        )
