"""`odeploy train qvpo`: Q-weighted variational policy optimisation.

    a_i ~ π(·|s), i = 1 .. M,    w_i = max(Q(s, a_i) - V(s), 0),    V(s) = mean_i Q(s, a_i)              (qadv)
    L = E_s [ Σ_top w_i ℓ(s, a_i) + ω Σ_top w_i Σ_u ℓ(s, a_u) ],    a_u ~ U[-1, 1]^D
    ℓ(s, a) = E_{k, ε} ‖ ε̂(s, a_k, t_k) - ε ‖²

The first term is the Q-weighted variational loss of Ding et al. (arXiv 2405.16173) with the weight function qadv,
the second the paper's entropy of a diffusion: a policy of highest entropy is uniform, so uniform actions are
regressed on too. In the environment the best of K_b samples is tried, and V̄ is that of the best of K_t, drawn
from the slow copy of the denoiser and chosen by the target critics. Formulas have their names: we had the authors'
code and abstract, not the numbering.

As in the authors' code: M = 64, of which the best one alone is regressed on (--chosen), 10 uniform actions per
state, each with ω = 0.02 of its weight, K_b = K_t = 4, T = 20, cosine, learning rates of 1e-4 and, for critics,
3e-4, gradient norms up to 2. Our choice: the norm of the critics' gradient is free, as for all methods on this
core; the network is that of our flows (3 x 256 SiLU; theirs Mish); one sample is scored, they score the best of
32, which a file may return too.
"""

from dataclasses import dataclass

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
from odeploy_train.runs.options import require_from_zero, require_positive


@dataclass(frozen=True)
class Config(diffusion_run.Config):
    """Train a diffusion policy by QVPO.

    The same command continues an interrupted run.
    """

    actor_lr: float = 1e-4
    """Learning rate of the denoiser, constant; `--lr` is the critics'."""
    candidates: int = 64
    """Samples M per state, whose mean Q is V."""
    chosen: int = 1
    """Samples with the highest Q that are regressed on."""
    behaviour_samples: int = 4
    """Samples K_b of which the best is tried in the environment."""
    target_samples: int = 4
    """Samples K_t of which the best gives the critics' target."""
    uniform: int = 10
    """Uniform actions per state, for the entropy."""
    entropy: float = 0.02
    """Weight ω of each uniform action, as a share of the weight of the state's chosen actions."""


def main(arguments: list[str]) -> None:
    """Train, or continue, and print the run folder."""
    config = tyro.cli(Config, args=arguments, prog="odeploy train qvpo")
    require_positive(
        candidates=config.candidates, chosen=config.chosen, behaviour_samples=config.behaviour_samples,
        target_samples=config.target_samples,
    )  # fmt: skip
    require_from_zero(
        chosen=(config.chosen, config.candidates + 1), uniform=(config.uniform, float("inf")),
        entropy=(config.entropy, float("inf")),
    )  # fmt: skip
    diffusion_run.run("qvpo", config, QvpoActor)


class QvpoActor(DiffusionActor):
    """Denoiser regressed on the best of its own samples, by their advantage."""

    def __init__(self, config: Config, denoiser: VelocityNet, levels: Schedule) -> None:
        super().__init__(denoiser, levels, config.actor_lr, config.gradient_norm, config.target_rate)
        self.how = config
        self.noise_shape = config.behaviour_samples, levels.steps, denoiser.action_size

    @torch.no_grad()
    def act(self, observation: Tensor, critics: TwinCritics, noise: Tensor) -> Tensor:
        """Return the best of K_b. Shapes (E, O), (E, K_b, T, D) -> (E, D)."""
        return self.choose(observation, self.denoise(observation, noise), critics)

    @torch.no_grad()
    def value(self, observation: Tensor, targets: TwinCritics, generator: torch.Generator) -> Tensor:
        """Return min(Q̄_1, Q̄_2) of the best of K_t of the slow copy.

        Shapes (B, O) -> (B,).
        """
        action = self.best(observation, self.how.target_samples, targets, generator, self.slow)
        return targets.smaller(observation, action)

    def improve(self, rows: Transitions, critics: TwinCritics, generator: torch.Generator) -> Info:
        """Take one step of the denoiser on L."""
        observation = rows.observation
        candidates = self.propose(observation, self.how.candidates, generator)
        with torch.no_grad():
            weights, index = qadv(critics.judge(observation, candidates)).topk(self.how.chosen, dim=1)
        chosen = candidates.gather(1, index[:, :, None].expand(-1, -1, candidates.shape[2]))
        loss = self.weighted(observation, chosen, weights, generator)
        norm = self.descend(loss)
        return {"regression": loss.detach(), "weight": weights.mean(), "gradient_norm": norm}

    def weighted(self, observation: Tensor, action: Tensor, weights: Tensor, generator: torch.Generator) -> Tensor:
        """Return L of C chosen actions per state, as a mean over these and U uniform ones.

        Shapes (B, O), (B, C, D), (B, C).
        """
        B, C, D = action.shape
        U = self.how.uniform
        uniform = 2 * torch.rand((B, U, D), generator=generator) - 1
        entropy = self.how.entropy * weights.sum(dim=1, keepdim=True).expand(-1, U)
        return self.regression(
            observation.repeat_interleave(C + U, dim=0),
            torch.cat([action, uniform], dim=1).flatten(0, 1),
            generator,
            torch.cat([weights, entropy], dim=1).flatten(),
        )


def qadv(value: Tensor) -> Tensor:
    """Return max(Q - V, 0), V the mean over a state's samples.

    Shapes (B, M) -> (B, M).
    """
    return (value - value.mean(dim=1, keepdim=True)).clamp(min=0)
