"""`odeploy train dipo`: diffusion policy by action gradients (arXiv 2305.13122).

    a ← a + η ∂Q(s, a)/∂a,    for the actions of the replay buffer, several times; stored there, improved
    L = E_{s, a} E_{k, ε} ‖ ε̂(s, a_k, t_k) - ε ‖²    on the improved ones: plain behaviour cloning

Critics learn from the actions that were executed; the improved ones are stored beside them. One sample is tried in
the environment, and V̄ is the value of one sample of the slow copy.

As in the authors' code: Q is the smaller of both, 20 gradient steps by Adam with 0.03 (reset for each batch), a
clipped to its limits after each, T = 100, cosine, 3e-4, gradient norms up to 2. `--ascent gradient` is the paper's
formula as it is, with the same η, which then depends on the scale of rewards. Our choice: theirs draws a batch of
its own for the actor, ours takes the critics'; theirs bounds the norm of a batch's action gradients, ours does
not, since Adam's steps hardly depend on their scale; the network is that of our flows.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import tyro
from torch import Tensor

from odeploy_train.diffusion_rl import run as diffusion_run
from odeploy_train.diffusion_rl.actor import DiffusionActor
from odeploy_train.modules.ddpm import Schedule
from odeploy_train.modules.networks import VelocityNet
from odeploy_train.off_policy.critics import TwinCritics
from odeploy_train.off_policy.replay import Transitions
from odeploy_train.runs.learning_curve import Info
from odeploy_train.runs.options import require_positive

Ascent = Literal["adam", "gradient"]
_ADAM_EPSILON = 1e-5


@dataclass(frozen=True)
class Config(diffusion_run.Config):
    """Train a diffusion policy by DIPO.

    The same command continues an interrupted run.
    """

    diffusion_steps: int = 100
    """Steps T of noise and sampler; `odeploy export` may choose fewer."""
    action_steps: int = 20
    """Gradient steps on each sampled action, each time it is sampled."""
    action_lr: float = 0.03
    """Step size η, in unit actions."""
    ascent: Ascent = "adam"
    """Whether η scales Adam's steps or the plain gradient."""


def main(arguments: list[str]) -> None:
    """Train, or continue, and print the run folder."""
    config = tyro.cli(Config, args=arguments, prog="odeploy train dipo")
    require_positive(action_steps=config.action_steps, action_lr=config.action_lr)
    diffusion_run.run("dipo", config, DipoActor)


class DipoActor(DiffusionActor):
    """Denoiser that clones the replay buffer's actions, which ascend the critics."""

    improves_replay: ClassVar[bool] = True

    def __init__(self, config: Config, denoiser: VelocityNet, levels: Schedule) -> None:
        super().__init__(denoiser, levels, config.actor_lr, config.gradient_norm, config.target_rate)
        self.how = config
        self.noise_shape = levels.steps, denoiser.action_size

    @torch.no_grad()
    def act(self, observation: Tensor, _critics: TwinCritics, noise: Tensor) -> Tensor:
        """Return a sample. Shapes (E, O), (E, T, D) -> (E, D)."""
        return self.denoise(observation, noise[:, None])[:, 0]

    @torch.no_grad()
    def value(self, observation: Tensor, targets: TwinCritics, generator: torch.Generator) -> Tensor:
        """Return min(Q̄_1, Q̄_2) of a sample of the slow copy. Shapes (B, O) -> (B,)."""
        return targets.smaller(observation, self.propose(observation, 1, generator, self.slow)[:, 0])

    def improve(self, rows: Transitions, critics: TwinCritics, generator: torch.Generator) -> Info:
        """Improve the batch's actions further, in place, and take one step on L."""
        assert rows.improved is not None
        better = self.ascend(rows.observation, rows.improved, critics)
        moved = (better - rows.improved).abs().mean()
        rows.improved.copy_(better)
        loss = self.regression(rows.observation, better, generator)
        norm = self.descend(loss)
        return {"regression": loss.detach(), "moved": moved, "gradient_norm": norm}

    def ascend(self, observation: Tensor, action: Tensor, critics: TwinCritics) -> Tensor:
        """Return actions after their gradient steps: constants within the limits.

        Shapes (B, O), (B, D) -> (B, D).
        """
        moving = action.clone().requires_grad_(True)
        rate = self.how.action_lr
        optimizer: torch.optim.Optimizer = torch.optim.SGD([moving], lr=rate, maximize=True)
        if self.how.ascent == "adam":
            optimizer = torch.optim.Adam([moving], lr=rate, eps=_ADAM_EPSILON, maximize=True)
        for _ in range(self.how.action_steps):
            (moving.grad,) = torch.autograd.grad(critics.smaller(observation, moving).sum(), moving)
            optimizer.step()
            with torch.no_grad():
                moving.clamp_(-1, 1)
        return moving.detach()
