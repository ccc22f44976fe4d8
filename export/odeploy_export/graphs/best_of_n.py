"""Best of N in one graph: candidates, twin critics in split form, argmax, gather.

The candidates come from a flow or a diffusion policy. The products with the observation, the proposer's and the
critics', are computed once per observation and repeated for its N candidates, which then are rows of a batch. A
critic's first layer is linear over [normalised observation, unit action], W_s s + W_a (a - middle) / half_range +
b: the action's scale is folded into W_a, its middle into b, and both critics' first layers are one Gemm.
"""

import copy

import torch
from torch import Tensor, nn

from odeploy_export.graphs.diffusion import UnrolledDiffusion
from odeploy_export.graphs.flow import ObservationPart, SplitFlow
from odeploy_export.graphs.weights import constant, linears
from odeploy_train.policies.best_of_diffusion import BestOfDiffusion
from odeploy_train.policies.best_of_n import BestOfN

OUTPUTS = ("action", "value", "index")


class BestOfNGraph(nn.Module):
    """Graph that returns the best of N candidates, its value and its index.

    `observation` (B, O), `noise` (B, N, S, D) -> `action` (B, H, A), `value` (B,), `index` (B,).

    Args:
        policy: proposer and critics.
        proposer: graph of the proposer.
        candidates: N.
    """

    def __init__(
        self, policy: BestOfN | BestOfDiffusion, proposer: SplitFlow | UnrolledDiffusion, candidates: int
    ) -> None:
        super().__init__()
        self._candidates, trained = candidates, policy.proposer
        self._action_size, self._horizon = trained.config.action_size, proposer.horizon
        self.proposer = proposer
        first = [linears(critic.modules())[0] for critic in policy.critics]
        W = torch.cat([layer.weight.detach().double() for layer in first])
        b = torch.cat([layer.bias.detach().double() for layer in first])
        low, high = trained.low.double(), trained.high.double()
        W_s, W_a = W[:, : -len(low)], W[:, -len(low) :] / ((high - low) / 2)
        self.critics_observation = ObservationPart(trained, W_s, b - W_a @ ((high + low) / 2))
        self.action_weight = constant(W_a.T)
        # Copies in float32: activations, further layers and, if the critics have them, LayerNorms.
        self.later = nn.ModuleList(
            copy.deepcopy(nn.Sequential(*list(critic.children())[1:])) for critic in policy.critics
        )
        self.later.float().requires_grad_(False)

    def forward(self, observation: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Shapes (B, O), (B, N, S, D) -> (B, H, A), (B,), (B,)."""
        N = self._candidates
        candidates = self.proposer.solve(self._for_each(self.proposer.observation(observation)), noise)
        value, index = self._values(observation, candidates).reshape(-1, N).max(dim=1)
        D = self._horizon * self._action_size
        picks = index.reshape(-1, 1, 1).repeat(1, 1, D)
        action = candidates.reshape(-1, N, D).gather(1, picks)
        return action.reshape(-1, self._horizon, self._action_size), value, index

    def _values(self, observation: Tensor, candidates: Tensor) -> Tensor:
        """Return min(Q_1, Q_2) of each candidate. Shapes (B, O), (B N, D) -> (B N, 1)."""
        h = torch.addmm(self._for_each(self.critics_observation(observation)), candidates, self.action_weight)
        first, second = (rest(h_i) for rest, h_i in zip(self.later, h.chunk(2, dim=1), strict=True))
        return torch.minimum(first, second)

    def _for_each(self, part: Tensor) -> Tensor:
        """Repeat each observation's row for its candidates. Shapes (B, W) -> (B N, W)."""
        return part.repeat(1, self._candidates).reshape(-1, part.shape[1])
