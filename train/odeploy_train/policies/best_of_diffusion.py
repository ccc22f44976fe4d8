"""Best of N of a diffusion policy: what QVPO's and DPMD's authors score, 32 samples judged by the twin critics.

    a_i = ancestral(s, ε_i),    Q(s, a) = min(Q_1(s, a), Q_2(s, a)),    i* = argmax_i Q(s, a_i)

Training leaves a diffusion policy, and beside it in the same checkpoint the critics that taught it; here they are
put together again. As of FMER's (`policies/best_of_n.py`) the critics see the normalised observation and actions
on unit scale. One sample needs no critics, and is what a file of such a run answers unless more are asked for.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from odeploy_train.modules.networks import mlp
from odeploy_train.policies.best_of_n import Choice, Chooser, best
from odeploy_train.policies.diffusion import DiffusionPolicy
from odeploy_train.policies.mlp import Activation


class BestOfDiffusion(Chooser):
    """A diffusion policy with twin critics.

    Attributes:
        diffusion: proposes; its normaliser and limits are the critics' too.
        critics: Q_1 and Q_2, over [normalised observation, unit action].
        critic_activation: between each two of their layers, by torch's name.
    """

    critic_activation: Activation = "ReLU"

    def __init__(self, diffusion: DiffusionPolicy, critic_widths: Sequence[int]) -> None:
        super().__init__()
        self.diffusion = diffusion
        sizes = diffusion.config.observation_size + diffusion.config.action_size, *critic_widths, 1
        self.critics = nn.ModuleList(mlp(sizes, nn.ReLU) for _ in range(2))

    @property
    def proposer(self) -> DiffusionPolicy:
        """The policy without its critics."""
        return self.diffusion

    def propose(self, observation: Tensor, noise: Tensor, t_grid: Sequence[float]) -> tuple[Tensor, Tensor]:
        """All candidates and what they are worth.

        Args:
            observation: raw. Shape (B, O).
            noise: S draws for each of N candidates of each observation. Shape (B, N, S, D).
            t_grid: the S + 1 times that `levels.t_grid(S)` gives.

        Returns:
            Actions in robot units, of shape (B, N, D), and values, of shape (B, N).
        """
        B, N = noise.shape[:2]
        repeated = observation.repeat_interleave(N, dim=0)
        actions = self.diffusion.sample(repeated, noise.flatten(0, 1), t_grid)
        return actions.view(B, N, -1), self.value(repeated, actions).view(B, N)

    def sample(self, observation: Tensor, noise: Tensor, t_grid: Sequence[float]) -> Choice:
        """The best candidate, of equally good ones the first; see `propose`."""
        return best(*self.propose(observation, noise, t_grid))
