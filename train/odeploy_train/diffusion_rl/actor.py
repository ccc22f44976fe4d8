"""Common to QVPO, DIPO and DPMD: a denoiser that regresses on better actions.

    a = x_0 of DDPM's ancestral sampler, all T steps, each predicted x_0 clipped to the unit action
    L = E_{s, a} w(s, a) E_{k, ε} ‖ ε̂(s, √ᾱ_k a + √(1 - ᾱ_k) ε, t_k) - ε ‖² / D

The methods differ in the actions that are regressed on and their weights. A proposal is a constant: no gradient
passes through the sampler. A slow copy of the denoiser follows it, as the authors of all three have it; each
method documents its use.
"""

import copy

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from odeploy_train.modules.ddpm import Schedule, ancestral, epsilon_loss
from odeploy_train.modules.networks import VelocityNet, over_states
from odeploy_train.off_policy.core import Actor, follow
from odeploy_train.off_policy.critics import TwinCritics


class DiffusionActor(Actor):
    """Denoiser over normalised observations and unit actions.

    Args:
        denoiser: ε̂.
        levels: noise schedule with T steps.
        lr: learning rate of the denoiser.
        gradient_norm: largest norm of an update's gradient.
        slow_rate: how far the slow copy moves towards the denoiser per update, from 0 to 1.

    Attributes:
        slow: slow copy of the denoiser.
    """

    def __init__(
        self,
        denoiser: VelocityNet,
        levels: Schedule,
        lr: float = 3e-4,
        gradient_norm: float = 2.0,
        slow_rate: float = 0.005,
    ) -> None:
        super().__init__()
        self.denoiser, self.slow = denoiser, copy.deepcopy(denoiser).requires_grad_(False)
        self.levels, self._norm, self._rate = levels, gradient_norm, slow_rate
        self._t_grid, self._alpha_bar = levels.t_grid(levels.steps), torch.tensor(levels.alpha_bar)
        self.optimizers = {"denoiser": torch.optim.Adam(denoiser.parameters(), lr=lr, fused=True)}

    @property
    def deployed(self) -> VelocityNet:
        """The denoiser that is deployed."""
        return self.denoiser

    @torch.no_grad()
    def propose(
        self, observation: Tensor, count: int, generator: torch.Generator, denoiser: VelocityNet | None = None
    ) -> Tensor:
        """Propose actions from fresh noise: constants in unit scale.

        Args:
            observation: normalised. Shape (B, O).
            count: actions M per observation.
            generator: generator of the noise.
            denoiser: default: the actor's own.

        Returns:
            Shape (B, M, D).
        """
        shape = len(observation), count, self.levels.steps, self.denoiser.action_size
        return self.denoise(observation, torch.randn(shape, generator=generator), denoiser)

    @torch.no_grad()
    def denoise(self, observation: Tensor, noise: Tensor, denoiser: VelocityNet | None = None) -> Tensor:
        """Return the actions of given noise, T draws for each: constants in unit scale.

        Shapes (B, O), (B, M, T, D) -> (B, M, D).
        """
        B, M, T, D = noise.shape
        epsilon = over_states(self.denoiser if denoiser is None else denoiser, observation, M, self._t_grid[:-1])
        rows = noise.reshape(B * M, T, D)
        end = ancestral(epsilon, rows, self.levels, self._t_grid, lambda x0: x0.clamp(-1, 1))
        return end.view(B, M, D)

    def best(
        self,
        observation: Tensor,
        count: int,
        critics: TwinCritics,
        generator: torch.Generator,
        denoiser: VelocityNet | None = None,
    ) -> Tensor:
        """Return the proposal with the highest min(Q_1, Q_2).

        Shapes (B, O) -> (B, D).
        """
        return self.choose(observation, self.propose(observation, count, generator, denoiser), critics)

    @torch.no_grad()
    def choose(self, observation: Tensor, proposed: Tensor, critics: TwinCritics) -> Tensor:
        """Return each state's action with the highest min(Q_1, Q_2).

        Shapes (B, O), (B, M, D) -> (B, D).
        """
        if proposed.shape[1] == 1:
            return proposed[:, 0]
        index = critics.judge(observation, proposed).argmax(dim=1)
        return proposed[torch.arange(len(index)), index]

    def regression(
        self, observation: Tensor, action: Tensor, generator: torch.Generator, weights: Tensor | None = None
    ) -> Tensor:
        """Return L on these actions, with one draw of (k, ε) each.

        Shapes (R, O), (R, D), weights (R,).
        """
        assert not action.requires_grad
        return epsilon_loss(self.denoiser, self._alpha_bar, observation, action, generator, weights)

    def descend(self, loss: Tensor) -> Tensor:
        """Update the denoiser, then its slow copy; return the unclipped gradient norm."""
        optimizer = self.optimizers["denoiser"]
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        norm = clip_grad_norm_(self.denoiser.parameters(), self._norm)
        optimizer.step()
        follow(self.slow, self.denoiser, self._rate)
        return norm
