"""Score of a policy file over episodes in parallel lockstep.

One call of its graph answers several robots.

Episode i of a seed has the reset of `tasks.env.episode_seed` and, at each tick, the noise that a server
would draw for it. A file's score is therefore the one that `odeploy score` measures one episode after the other,
up to how rounding at another batch size grows in a closed loop. Two files play the same episodes.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from odeploy_runtime.errors import ContractError
from odeploy_runtime.inference.noise import NoiseSource
from odeploy_runtime.inference.onnx_policy import open_session
from odeploy_runtime.policy_file.file import PolicyFile
from odeploy_runtime.policy_file.manifest import Manifest
from odeploy_runtime.robot.chunk_playback import ChunkOptions, Chunks
from odeploy_runtime.robot.player import Answer
from odeploy_runtime.signals import highs, lows, require_same_names
from odeploy_sim.tasks.env import TaskEnv
from odeploy_sim.tasks.episodes import PARALLEL, RunningEpisode, Simulations
from odeploy_sim.tasks.seeds import SCORES
from odeploy_sim.tasks.task import Task


@dataclass(frozen=True)
class EpisodeScores:
    """Results of the valid episodes, by number.

    Attributes:
        returns: sums of the environment's own rewards. Shape (E,).
        successes: whether each ended solved. Shape (E,).
        invalid: number of episodes in which the simulation broke; others replace them.
    """

    returns: NDArray[np.float64]
    successes: NDArray[np.bool_]
    invalid: int


class FileScorer(Simulations):
    """Simulations of a task in which policy files are scored one after the other."""

    def play(
        self,
        file: PolicyFile,
        seed: int,
        episodes: int,
        options: ChunkOptions,
        ended: Callable[[], object] = lambda: None,
    ) -> EpisodeScores:
        """Play the first valid episodes of a seed.

        Args:
            file: the policy file.
            seed: seed of resets and of the policy's noise.
            episodes: number of episodes.
            options: playback of chunks.
            ended: called after each valid episode.

        Raises:
            ContractError: the policy has other signals than the task, or a memory; a hundred episodes in a row
                broke.
            UsageError: its horizon is too short for the options.
        """
        invalid, scores = 0, dict[int, tuple[float, bool]]()
        for trajectory in self.trajectories(_Answers(file, self.task, seed, options), SCORES.seed(seed), episodes):
            if trajectory.invalid:
                invalid += 1
            else:
                scores[trajectory.number] = trajectory.total, trajectory.success
                ended()
        returns, successes = zip(*(scores[number] for number in sorted(scores)), strict=True)
        return EpisodeScores(np.array(returns), np.array(successes), invalid)


class _Answers:
    """A file's graph, called for several running episodes at once."""

    def __init__(self, file: PolicyFile, task: Task, seed: int, options: ChunkOptions) -> None:
        manifest, where = file.manifest, str(file.path)
        _require_no_memory(manifest, where)
        require_same_names(manifest.observation_names, task.observation_names, f"{where}, observation")
        require_same_names(manifest.action_names, task.action_names, f"{where}, action")
        self._noise, self._takes_noise = NoiseSource(manifest.noise, seed), manifest.noise.mode != "none"
        self._session = open_session(file.data, "cpu", where, rows=PARALLEL)
        chunking = options.chunking(manifest.horizon, paced=False)
        self._chunks: defaultdict[TaskEnv, Chunks[Answer]] = defaultdict(lambda: Chunks(chunking))
        self._low, self._high = lows(task.action), highs(task.action)

    def __call__(self, running: Sequence[RunningEpisode]) -> NDArray[np.float32]:
        for episode in running:
            if episode.tick == 0:
                self._chunks[episode.env].begin()
        self._infer([episode for episode in running if self._chunks[episode.env].requests(episode.tick)])
        actions = []
        for episode in running:
            played = self._chunks[episode.env].at(episode.tick)
            assert played is not None  # each answer is there at once
            actions.append(played.values)
        return np.clip(np.stack(actions), self._low, self._high)

    def _infer(self, requesting: Sequence[RunningEpisode]) -> None:
        """Store a new chunk of each of these episodes."""
        if not requesting:
            return
        feed = {"observation": np.stack([episode.observation for episode in requesting])}
        if self._takes_noise:
            feed["noise"] = np.concatenate(
                [self._noise.draw(episode.number, episode.tick) for episode in requesting]
            )
        (actions,) = self._session.run(["action"], feed)
        for episode, values in zip(requesting, actions, strict=True):
            self._chunks[episode.env].take_in_virtual_time(Answer(episode.tick, values))


def _require_no_memory(manifest: Manifest, where: str) -> None:
    if manifest.state_size or manifest.frozen is not None or manifest.recipe is not None:
        raise ContractError(
            where=where,
            expected="a policy that depends on the present observation only",
            got="one with a memory: a state, a chunk or a recipe",
            remedy="score it with `odeploy score`",
        )
