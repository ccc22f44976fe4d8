"""Best of N with a diffusion policy and the twin critics that trained it.

    a_i = ancestral(s, ε_i),    Q(s, a) = min(Q_1(s, a), Q_2(s, a)),    i* = argmax_i Q(s, a_i)

QVPO's and DPMD's authors score the best of 32. A run's checkpoint stores the critics beside the policy;
`runs.folder.load_policy` combines them. As in FMER (`policies/best_of_n.py`), the critics see the normalised
observation and actions in unit scale. A file with one candidate needs no critics; this is the default of `odeploy
export`.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from odeploy_train.modules.networks import mlp
from odeploy_train.policies.best_of_n import Choice, Chooser, best
from odeploy_train.policies.diffusion import DiffusionPolicy


class BestOfDiffusion(Chooser):
    """Diffusion policy with twin critics.

    Attributes:
        diffusion: proposes candidates; the critics share its normaliser and limits.
        critics: Q_1 and Q_2, over [normalised observation, unit action].
    """

    def __init__(
        self, diffusion: DiffusionPolicy, critic_widths: Sequence[int], critic_norm: bool = False
    ) -> None:
        super().__init__()
        self.diffusion = diffusion
        sizes = diffusion.config.observation_size + diffusion.config.action_size, *critic_widths, 1
        self.critics = nn.ModuleList(mlp(sizes, nn.ReLU, norm=critic_norm) for _ in range(2))

    @property
    def proposer(self) -> DiffusionPolicy:
        """The policy without critics."""
        return self.diffusion

    def propose(self, observation: Tensor, noise: Tensor, t_grid: Sequence[float]) -> tuple[Tensor, Tensor]:
        """Return all candidates and their values.

        Args:
            observation: raw. Shape (B, O).
            noise: S draws for each of N candidates per observation. Shape (B, N, S, D).
            t_grid: S + 1 times, by `levels.t_grid(S)`.

        Returns:
            Actions in robot units, of shape (B, N, D), and values, of shape (B, N).
        """
        B, N = noise.shape[:2]
        repeated = observation.repeat_interleave(N, dim=0)
        actions = self.diffusion.sample(repeated, noise.flatten(0, 1), t_grid)
        return actions.view(B, N, -1), self.value(repeated, actions).view(B, N)

    def sample(self, observation: Tensor, noise: Tensor, t_grid: Sequence[float]) -> Choice:
        """Return the best candidate, the first among equals; see `propose`."""
        return best(*self.propose(observation, noise, t_grid))
