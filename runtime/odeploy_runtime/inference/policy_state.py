"""What an answer depends on besides what the robot senses now: noise, recipe, recurrent state, the last chunk.

One object for each robot, wherever its ticks are answered: in the server, in a shadow, in a replay, or in the
process of the simulation. So all of them give the same answers to the same ticks.
"""

import numpy as np
from numpy.typing import NDArray

from odeploy_runtime.inference.noise import NoiseSource
from odeploy_runtime.inference.onnx_policy import Policy
from odeploy_runtime.inference.previous_chunk import Continuation
from odeploy_runtime.inference.recurrent_state import Recurrence
from odeploy_runtime.policy_file.manifest import Manifest
from odeploy_runtime.policy_file.recipe import Preparation


class Memory:
    """Of one robot. Its ticks are named by (policy epoch, episode, seq).

    Attributes:
        noise: its draws by tick.
        keeps: whether an answer changes later ones; if not, `keep` need not be called.
    """

    def __init__(self, manifest: Manifest, seed: int) -> None:
        """Remembers nothing yet.

        Args:
            manifest: of the policy that answers.
            seed: of the noise.
        """
        self._seed, self._preparation = seed, None
        self._recurrence, self._continuation = Recurrence(), Continuation()
        self.renew(manifest)

    noise: NoiseSource
    keeps: bool
    _preparation: Preparation | None

    def renew(self, manifest: Manifest) -> None:
        """Another policy answers from here on.

        It wants draws of its own shape, though those of a tick stay what its number says. If its recipe is
        another one, it begins with what is sensed next.
        """
        self.noise = NoiseSource(manifest.noise, self._seed)
        recipe = manifest.recipe
        if recipe is None:
            self._preparation = None
        elif self._preparation is None or self._preparation.recipe != recipe:
            self._preparation = Preparation(recipe, len(manifest.action), manifest.rate_hz)
        self.keeps = bool(manifest.state_size) or manifest.frozen is not None or recipe is not None

    def observe(self, episode: int, seq: int, raw: NDArray[np.float32]) -> NDArray[np.float32]:
        """The policy's observation of what the robot sensed, (R,), by the recipe. Shape (O,)."""
        return raw if self._preparation is None else self._preparation.observe(episode, seq, raw)

    def set_inputs(self, policy: Policy, epoch: int, episode: int, seq: int) -> NDArray[np.float32]:
        """Sets the policy's inputs besides observation and noise; returns the noise. Shape (1, N, S, D)."""
        if policy.manifest.state_size:
            policy.state[:] = self._recurrence.before(epoch, episode, seq)
        if policy.manifest.frozen is not None:
            policy.previous[:], policy.frozen[:] = self._continuation.before(epoch, episode, seq)
        return self.noise.draw(episode, seq)

    def keep(self, policy: Policy, epoch: int, episode: int, seq: int, actions: NDArray[np.float32]) -> None:
        """This tick has been answered so, (H, A), and not merely rehearsed."""
        if policy.manifest.state_size:
            self._recurrence.keep(epoch, episode, seq, policy.state)
        if policy.manifest.frozen is not None:
            self._continuation.keep(epoch, episode, seq, actions, policy.manifest.frozen)
        if self._preparation is not None:
            self._preparation.keep(episode, seq, actions[0])

    def answer(
        self, policy: Policy, epoch: int, episode: int, seq: int, observation: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """One tick whole, from what `observe` gave; not to be written to. Shape (H, A)."""
        actions = policy.infer(observation, self.set_inputs(policy, epoch, episode, seq))
        self.keep(policy, epoch, episode, seq, actions)
        return actions
