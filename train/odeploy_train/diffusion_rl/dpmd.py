"""`odeploy train dpmd`: diffusion policy mirror descent (arXiv 2502.00361).

    π_new(a|s) ∝ π_old(a|s) exp(Q(s, a) / λ)                                        policy mirror descent
    L = E_s E_{a ~ π_old} [ w E_{k, ε} ‖ ε̂(s, a_k, t_k) - ε ‖² ],    w = exp(z / λ) / mean exp(z / λ)

Each noise level of π_new is matched with noised samples of π_old, weighted by the action that they came from: the
paper's reweighted score matching. z is Q standardised and clipped to ±3; weights are normalised over the batch.

The action is that of the critics' target, at the following state, so an update samples once: the best of N samples
(--target-samples; 1 is mirror descent as written above, 32 what the authors report), plus noise of standard
deviation σλ, clipped to the limits. In the environment the best of N of the slow copy is tried, with such noise;
the slow copy is deployed, without. λ falls as a multiplier whose constraint is the entropy of that noise:

    log λ ← log λ - lr (D/2 log(2πe σ²λ²) - H),    by Adam

As in the authors' code: T = 20, σ = 0.1, λ from 5, H = -0.9 D. Our choice: λ's learning rate is 1e-3 every update,
for runs of some ten thousand updates; theirs, 7e-3 every 250 updates, leaves λ near its start there. Also ours: z
by the batch's own mean and deviation, theirs are moving averages; the target's candidates are judged by the target
critics, theirs by the critics; every update moves the policy, theirs every other (--actor-every 2); rewards are
not scaled by 0.2, learning rates do not fall to a tenth; the schedule is cosine, theirs linear.
"""

import math
from dataclasses import dataclass

import torch
import tyro
from torch import Tensor, nn

from odeploy_train.diffusion_rl import run as diffusion_run
from odeploy_train.diffusion_rl.actor import DiffusionActor
from odeploy_train.modules.ddpm import Schedule
from odeploy_train.modules.networks import VelocityNet
from odeploy_train.off_policy.critics import TwinCritics
from odeploy_train.off_policy.replay import Transitions
from odeploy_train.runs.learning_curve import Info
from odeploy_train.runs.options import require_from_zero, require_positive

_Z_MOST = 3.0
_ROUNDING = 1e-4  # smaller differences, as a share of a value, count as equal


@dataclass(frozen=True)
class Config(diffusion_run.Config):
    """Train a diffusion policy by DPMD.

    The same command continues an interrupted run.
    """

    choices: int = 32
    """Samples N of which the best is tried in the environment."""
    target_samples: int = 32
    """Samples of which the best gives the critics' target and is regressed on; 1 for a plain sample of π_old."""
    temperature: float = 5.0
    """Temperature λ at the start."""
    temperature_lr: float = 1e-3
    """Learning rate of log λ; 0 for a constant λ."""
    noise: float = 0.1
    """Standard deviation σ of the noise on a tried or regressed action, in units of λ."""
    target_entropy: float = -0.9
    """Target entropy H of this noise per dimension of the action [nat]."""


def main(arguments: list[str]) -> None:
    """Train, or continue, and print the run folder."""
    config = tyro.cli(Config, args=arguments, prog="odeploy train dpmd")
    require_positive(
        choices=config.choices, target_samples=config.target_samples, temperature=config.temperature,
        noise=config.noise,
    )  # fmt: skip
    require_from_zero(temperature_lr=(config.temperature_lr, math.inf))
    diffusion_run.run("dpmd", config, DpmdActor)


class DpmdActor(DiffusionActor):
    """Denoiser regressed on its own samples, weighted by exp(Q / λ), with log λ."""

    def __init__(self, config: Config, denoiser: VelocityNet, levels: Schedule) -> None:
        super().__init__(denoiser, levels, config.actor_lr, config.gradient_norm, config.target_rate)
        self.how = config
        self.noise_shape = config.choices * levels.steps + 1, denoiser.action_size  # the last row is added
        self.log_temperature = nn.Parameter(torch.tensor(math.log(config.temperature)))
        self.optimizers["temperature"] = torch.optim.Adam([self.log_temperature], lr=config.temperature_lr)
        self._drawn: tuple[Tensor, Tensor] | None = None

    @property
    def deployed(self) -> VelocityNet:
        """The denoiser that is deployed: the slow copy."""
        return self.slow

    @torch.no_grad()
    def act(self, observation: Tensor, critics: TwinCritics, noise: Tensor) -> Tensor:
        """Return the best of N of the slow copy, with noise.

        Shapes (E, O), (E, N T + 1, D) -> (E, D).
        """
        draws = noise[:, :-1].view(len(noise), self.how.choices, self.levels.steps, -1)
        best = self.choose(observation, self.denoise(observation, draws, self.slow), critics)
        return self._disturbed(best, noise[:, -1])

    @torch.no_grad()
    def value(self, observation: Tensor, targets: TwinCritics, generator: torch.Generator) -> Tensor:
        """Return min(Q̄_1, Q̄_2) of an action, which is stored for the regression.

        Shapes (B, O) -> (B,).
        """
        action = self.best(observation, self.how.target_samples, targets, generator)
        action = self._disturbed(action, torch.randn(action.shape, generator=generator))
        self._drawn = observation, action
        return targets.smaller(observation, action)

    def improve(self, rows: Transitions, critics: TwinCritics, generator: torch.Generator) -> Info:
        """Take one step of the denoiser on L, and one of λ."""
        if self._drawn is None or self._drawn[0] is not rows.following:
            self.value(rows.following, critics, generator)
        assert self._drawn is not None
        (observation, action), self._drawn = self._drawn, None
        temperature = self.log_temperature.detach().exp()
        with torch.no_grad():
            weights = mirror_weights(critics.smaller(observation, action), float(temperature))
        loss = self.regression(observation, action, generator, weights)
        norm = self.descend(loss)
        entropy = 0.5 * math.log(2 * math.pi * math.e) + math.log(self.how.noise) + self.log_temperature.detach()
        optimizer = self.optimizers["temperature"]
        optimizer.zero_grad()
        dual = self.log_temperature * (entropy - self.how.target_entropy) * action.shape[1]
        dual.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        return {
            "regression": loss.detach(),
            "temperature": temperature,
            "largest_weight": weights.max(),
            "gradient_norm": norm,
        }

    def _disturbed(self, action: Tensor, noise: Tensor) -> Tensor:
        std = self.how.noise * self.log_temperature.detach().exp()
        return (action + std * noise).clamp(-1, 1)


def mirror_weights(value: Tensor, temperature: float) -> Tensor:
    """Return exp(z / λ) over its mean; z are the standardised values within ±3.

    The weights are all 1 if all values are equal.

    Args:
        value: Q(s, a) of one action per state. Shape (B,).
        temperature: λ.

    Returns:
        Shape (B,).
    """
    spread = value.std(correction=0).clamp(min=float(_ROUNDING * value.abs().mean())).clamp(min=1e-12)
    z = ((value - value.mean()) / spread).clamp(-_Z_MOST, _Z_MOST)
    return (z / temperature).softmax(dim=0) * len(value)
