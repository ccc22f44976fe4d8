"""The policy state: noise, recipe, recurrent state and previous chunk of a robot.

An answer depends on it besides the observation.

Each robot has one such object wherever its ticks are answered: in the server, in a shadow, in a replay, or in the
simulation's process. All of them therefore give the same answers to the same ticks.
"""

import numpy as np
from numpy.typing import NDArray

from odeploy_runtime.inference.noise import NoiseSource
from odeploy_runtime.inference.policy import Policy
from odeploy_runtime.inference.previous_chunk import PreviousChunk
from odeploy_runtime.inference.recurrent_state import RecurrentState
from odeploy_runtime.policy_file.manifest import Manifest
from odeploy_runtime.policy_file.preparation import Preparation


class PolicyState:
    """State of one robot's policy.

    Ticks are identified by (policy epoch, episode, seq).

    Attributes:
        noise: draws of noise by tick.
        keeps: whether an answer changes later ones; if not, `commit` may be left out.
    """

    def __init__(self, manifest: Manifest, seed: int) -> None:
        """Begin without any history.

        Args:
            manifest: manifest of the policy that answers.
            seed: seed of the noise.
        """
        self._seed, self._preparation = seed, None
        self._recurrent, self._chunk = RecurrentState(), PreviousChunk()
        self.renew(manifest)

    noise: NoiseSource
    keeps: bool
    _preparation: Preparation | None

    def renew(self, manifest: Manifest) -> None:
        """Continue with another policy.

        The draws of a tick depend on its number alone, but have the new policy's shape. The history of
        observations goes on if the recipe is equal; otherwise it begins with the next observation.
        """
        self.noise = NoiseSource(manifest.noise, self._seed)
        recipe = manifest.recipe
        if recipe is None:
            self._preparation = None
        elif self._preparation is None or self._preparation.recipe != recipe:
            self._preparation = Preparation(recipe, len(manifest.action), manifest.rate_hz)
        self.keeps = bool(manifest.state_size) or manifest.frozen is not None or recipe is not None

    def observe(self, episode: int, seq: int, raw: NDArray[np.float32]) -> NDArray[np.float32]:
        """Add a robot's observation, (R,), to the history.

        Return the policy's, by the recipe. Shape (O,).
        """
        return raw if self._preparation is None else self._preparation.observe(episode, seq, raw)

    def prepare(
        self, policy: Policy, epoch: int, episode: int, seq: int, raw: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Set a policy's other inputs for a tick.

        Return its observation and noise, not to be written to.

        Shapes (O,), (1, N, S, D).
        """
        observation = self.observe(episode, seq, raw)
        if policy.manifest.state_size:
            policy.state[:] = self._recurrent.before(epoch, episode, seq)
        if policy.manifest.frozen is not None:
            policy.previous[:], policy.frozen[:] = self._chunk.before(epoch, episode, seq)
        return observation, self.noise.draw(episode, seq)

    def commit(self, policy: Policy, epoch: int, episode: int, seq: int, actions: NDArray[np.float32]) -> None:
        """Record the answer of a tick, (H, A). Not called after pre-touch runs."""
        if policy.manifest.state_size:
            self._recurrent.commit(epoch, episode, seq, policy.state)
        if policy.manifest.frozen is not None:
            self._chunk.commit(epoch, episode, seq, actions, policy.manifest.frozen)
        if self._preparation is not None:
            raw = policy.raw_action if self._preparation.recipe.uses_raw_action else None
            self._preparation.commit(episode, seq, actions[0], raw)

    def answer(
        self, policy: Policy, epoch: int, episode: int, seq: int, raw: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Prepare, infer and commit one tick from a robot's observation, (R,).

        Shape (H, A); valid until the next call, not to be written to.
        """
        observation, noise = self.prepare(policy, epoch, episode, seq, raw)
        actions = policy.infer(observation, noise)
        self.commit(policy, epoch, episode, seq, actions)
        return actions
