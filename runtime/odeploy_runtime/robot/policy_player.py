"""A policy file played in this process, as by a server in lockstep."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from odeploy_runtime.inference.policy import Policy
from odeploy_runtime.inference.policy import load_policy as loaded
from odeploy_runtime.inference.policy_state import PolicyState
from odeploy_runtime.policy_file.file import PolicyFile, read
from odeploy_runtime.robot.chunk_playback import ChunkOptions
from odeploy_runtime.robot.player import Player


class PolicyPlayer(Player):
    """A loaded policy file.

    A server answers from the same `PolicyState`, so its actions are equal tick by tick.

    Attributes:
        manifest: manifest of the file.
        fingerprint: its fingerprint, 64 hex characters.
    """

    def __init__(self, policy: Policy, seed: int = 0, options: ChunkOptions = ChunkOptions()) -> None:  # noqa: B008
        """Begin the first episode.

        Args:
            policy: the loaded policy.
            seed: seed of its noise.
            options: playback of its chunks.

        Raises:
            UsageError: its horizon is too short for the options.
        """
        self.manifest, self.fingerprint = policy.manifest, policy.fingerprint
        self._policy, self._state = policy, PolicyState(policy.manifest, seed)
        super().__init__(policy.manifest.raw_names, options.chunking(policy.manifest.horizon, paced=False))

    def _answer(self, episode: int, tick: int, sensed: NDArray[np.float32]) -> NDArray[np.float32]:
        return self._state.answer(self._policy, 0, episode, tick, sensed).copy()


def load_policy(
    file: str | Path | PolicyFile, *, provider: str = "auto", seed: int = 0, execute: int = 1
) -> PolicyPlayer:
    """Load a policy file into this process, and check its golden rows.

    Args:
        file: the policy file.
        provider: execution provider, see `odeploy serve --help`.
        seed: seed of its noise.
        execute: E, actions to play of each chunk before the next one is computed.

    Raises:
        PolicyFileError: the file is refused.
        ProviderError: the provider is not available.
        UsageError: `execute` exceeds the policy's horizon.
    """
    policy = loaded(file if isinstance(file, PolicyFile) else read(file), provider)
    return PolicyPlayer(policy, seed, ChunkOptions(execute=execute))
