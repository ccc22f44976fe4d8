"""FMER (arXiv 2603.17685): a flow regressed on candidates weighted by critics.

    a_i = tanh(u_i),    u_i = flow(s, ε_i),    i = 1 .. M,    w = softmax(A / τ) over A_i = min(Q_1, Q_2) - mean
    L = E_s Σ_i w_i ‖ v(s, x_t, t) - (u_i - ε') ‖²,    x_t = (1 - t) ε' + t u_i,    ε' fresh
    minimise L - α H,    α by dual ascent to a target entropy

The paper's abstract states: candidates from the policy, weights by the critic's advantage, no back-propagation
through the ODE, a tractable entropy, and in the environment the candidate of the highest Q. All else here is our
reconstruction; the paper may differ:

- The entropy of the squashed action is that of the map that draws it, of K Euler steps,

      H = (D/2) log(2πe) + E Σ_k log|det(I + J_k / K)| + E Σ_j log(1 - tanh² u_j),    J_k = ∂v/∂x at x_k,

  and not that of the continuous flow, with E ∫ div v dt in the middle. The steps contract more than the flow does:
  with K = 4, samples of standard deviation 0.03 had a divergence as if it were 0.2, so the multiplier fell to 0
  and exploration with it (docs/decisions.md).
- Paths are constants, and so would be the tanh term: then the determinant alone is pushed up, and at a high target
  u runs away until all actions saturate. Its gradient is kept to first order: u moves by ∫ δv dt along the path,
  so E ∫ -2 tanh(u) · v(x_t, t) dt, with u constant, is added.
- Critics learn the value of the best of `target_choices` samples, by the smaller of both targets: hard, since α
  weighs against a regression and is no measure for Q.
- With `perturbations`, each sample u counts several times: itself, and copies with noise in u. They cost critic
  calls instead of an ODE, and reach where the policy does not go yet (flow-rl has the same for DPMD).
- With `renew_every` and `slow_rate`, candidates are samples of a slow copy of the flow.
- With `resample`, the regression has that many candidates per state, drawn by weight, instead of all.
- With `uniform`, some candidates are drawn uniformly from all actions, as in QVPO's entropy term
  (`diffusion_rl.qvpo`). A policy that is regressed on its own samples alone drifts where Q is flat, and does not
  recover a mode that it has lost: a candidate's weight does not depend on how many others are like it, and div v
  is local. With them π = m w / (1 - (1 - m) w) at rest, where m is their share and w the weight of an action in
  units of the mean: as even as Q is.
- M, N, K, ρ, target entropy, widths and learning rates are our choices.
"""

import copy
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from odeploy_train.modules.flow_matching import straight_path
from odeploy_train.modules.flow_paths import Path, solve, velocity_and_jacobian
from odeploy_train.modules.networks import VelocityNet
from odeploy_train.modules.squash import SATURATED, log_slope
from odeploy_train.off_policy.candidate_weights import advantage_weights, effective_size, resampled
from odeploy_train.off_policy.core import Actor, follow
from odeploy_train.off_policy.critics import TwinCritics
from odeploy_train.off_policy.replay import Transitions
from odeploy_train.runs.learning_curve import Info

_LOG_2PI = math.log(2 * math.pi)
_LEAST = 0.12  # bound of a dimension's contraction in one of K Euler steps, in units of 1 / K


@dataclass(frozen=True)
class Improvement:
    """Hyperparameters of an `FmerActor`."""

    target_entropy: float
    """Target entropy of the squashed action [nat]."""
    candidates: int = 8
    """Candidates M: actions of the flow per state, on which it is regressed."""
    choices: int = 8
    """Choices N: actions of which the one with the highest Q is tried in the environment."""
    solver_steps: int = 10
    """Euler steps K."""
    effective_share: float = 0.5
    """Effective sample size of the weights, as a share ρ of all candidates."""
    per_state: bool = True
    """Whether a candidate's advantage counts in units of its state's spread."""
    perturbations: int = 1
    """Candidates P of each sample: itself, and copies with noise."""
    spread: float = 0.2
    """Standard deviation of this noise, in u."""
    resample: int = 0
    """Candidates per state that are drawn by weight for the regression; 0 for all of them, weighted."""
    renew_every: int = 1
    """Updates of the velocity between two renewals of the copy that proposes candidates."""
    slow_rate: float = 1.0
    """How far the copy moves towards the velocity at a renewal."""
    target_choices: int = 1
    """Samples of which the best gives the critics' target."""
    uniform: int = 0
    """Further candidates, drawn uniformly from all actions."""
    entropy_draws: int = 2
    """Candidates per state on whose paths the entropy is estimated, at one random point each."""
    actor_lr: float = 3e-4
    """Learning rate of the velocity."""
    alpha: float = 0.1
    """Multiplier α at the start; 0 disables the entropy, since log α = -∞ never moves."""
    alpha_lr: float = 1e-3
    """Learning rate of log α."""


class FmerActor(Actor):
    """Flow with the multiplier of its entropy.

    Args:
        velocity: v_θ, over normalised observations; it ends at u, before the tanh.
        how: hyperparameters.

    Attributes:
        slow: the flow that proposes candidates: a copy, or the velocity itself.
        temperature: τ of the last update.
        updates: number of updates so far.
    """

    temperature: Tensor
    updates: Tensor

    def __init__(self, velocity: VelocityNet, how: Improvement) -> None:
        super().__init__()
        self.velocity, self.how = velocity, how
        self.noise_shape = how.choices, velocity.action_size
        live = how.renew_every == 1 and how.slow_rate == 1
        self.slow = velocity if live else copy.deepcopy(velocity).requires_grad_(False)
        self.log_alpha = nn.Parameter(torch.tensor(how.alpha).log())
        self.register_buffer("temperature", torch.ones(()))
        self.register_buffer("updates", torch.zeros((), dtype=torch.long))
        self.optimizers = {
            "velocity": torch.optim.Adam(velocity.parameters(), lr=how.actor_lr, fused=True),
            "alpha": torch.optim.Adam([self.log_alpha], lr=how.alpha_lr),
        }

    def propose(
        self, observation: Tensor, count: int, generator: torch.Generator, velocity: VelocityNet | None = None
    ) -> Path:
        """Return `count` paths from fresh noise per state; constants. Shape (B, O)."""
        shape = len(observation), count, self.velocity.action_size
        noise = torch.randn(shape, generator=generator)
        return solve(self.velocity if velocity is None else velocity, observation, noise, self.how.solver_steps)

    @torch.no_grad()
    def act(self, observation: Tensor, critics: TwinCritics, noise: Tensor) -> Tensor:
        """Return the best of N. Shapes (E, O), (E, N, D) -> (E, D)."""
        actions = solve(self.velocity, observation, noise, self.how.solver_steps).end.tanh()
        if self.how.choices == 1:
            return actions[:, 0]
        best = critics.judge(observation, actions).argmax(dim=1)
        return actions[torch.arange(len(best)), best]

    @torch.no_grad()
    def value(self, observation: Tensor, targets: TwinCritics, generator: torch.Generator) -> Tensor:
        """Return min(Q̄_1, Q̄_2) of the best of some samples. Shapes (B, O) -> (B,)."""
        actions = self.propose(observation, self.how.target_choices, generator).end.tanh()
        return targets.judge(observation, actions).amax(dim=1)

    def improve(self, rows: Transitions, critics: TwinCritics, generator: torch.Generator) -> Info:
        """Take one step of the velocity on L - α H, and one of α."""
        observation, how = rows.observation, self.how
        path = self.propose(observation, how.candidates, generator, self.slow)
        u = self.candidates(path.end, generator)
        with torch.no_grad():
            value = critics.judge(observation, u.tanh())
        weights, temperature = advantage_weights(
            value, how.effective_share, float(self.temperature), per_state=how.per_state
        )
        self.temperature.copy_(temperature)
        share = effective_size(weights).mean() / u.shape[1]
        if how.resample:
            drawn = resampled(weights, how.resample, generator)
            u = u.gather(1, drawn[:, :, None].expand(-1, -1, u.shape[2]))
            weights = torch.full(drawn.shape, 1 / how.resample)
        regression = self.regression(observation, u, weights, generator)
        if self.slow is not self.velocity:
            path = self.propose(observation, how.entropy_draws, generator)
        entropy, lift = self.entropy(observation, path, generator)
        alpha = self.log_alpha.detach().exp()
        self._descend("velocity", regression - alpha * lift)
        self._descend("alpha", self.log_alpha * (entropy - how.target_entropy))
        self._renew()
        return {
            "regression": regression.detach(),
            "entropy": entropy,
            "alpha": alpha,
            "temperature": temperature,
            "effective_share": share,
            "saturated": (path.end.tanh().abs() > 0.99).float().mean(),
        }

    def candidates(self, samples: Tensor, generator: torch.Generator) -> Tensor:
        """Return all candidates: samples, their perturbed copies, uniform actions.

        All are u, before the tanh.

        Shapes (B, M, D) -> (B, M P + U, D).
        """
        B, _, D = samples.shape
        parts = [samples]
        if self.how.perturbations > 1:
            copies = samples.repeat_interleave(self.how.perturbations - 1, dim=1)
            parts.append(copies + self.how.spread * torch.randn(copies.shape, generator=generator))
        if self.how.uniform:
            uniform = 2 * torch.rand(B, self.how.uniform, D, generator=generator) - 1
            parts.append(uniform.clamp(-SATURATED, SATURATED).atanh())
        return torch.cat(parts, dim=1)

    def regression(self, observation: Tensor, u: Tensor, weights: Tensor, generator: torch.Generator) -> Tensor:
        """Return L, with one draw of (ε', t) per candidate.

        Shapes (B, O), (B, M, D), (B, M).
        """
        B, M, D = u.shape
        x1 = u.reshape(B * M, D)
        x0 = torch.randn(x1.shape, generator=generator)
        t = torch.rand(len(x1), generator=generator)
        x_t, target = straight_path(x0, x1, t)
        error = self.velocity(observation.repeat_interleave(M, dim=0), x_t, t) - target
        loss: Tensor = (weights.flatten() * error.square().sum(-1)).sum() / B
        return loss

    def entropy(self, observation: Tensor, path: Path, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return H, a constant, and the part of it that has a gradient.

        The latter is E Σ_k log|det(I + J_k / K)| - 2 E ∫ tanh(u) · v dt, with u constant.
        """
        K, B, _, D = path.states.shape
        E = self.how.entropy_draws
        k = torch.randint(K, (B, E), generator=generator)
        x = path.states[k, torch.arange(B)[:, None], torch.arange(E)].view(B * E, D)
        u = path.end[:, :E].reshape(B * E, D)
        states = observation.repeat_interleave(E, dim=0)
        v, jacobian = velocity_and_jacobian(self.velocity, states, x, path.times[k].flatten())
        volume = K * log_volume(torch.eye(D) + jacobian / K, _LEAST / K)
        lift = (volume - 2 * (u.tanh() * v).sum(-1)).mean()
        entropy = D / 2 * (_LOG_2PI + 1) + volume.detach().mean() + log_slope(path.end).mean()
        return entropy, lift

    @torch.no_grad()
    def _renew(self) -> None:
        """Move the slow copy, if it is due."""
        self.updates += 1
        if self.slow is not self.velocity and int(self.updates) % self.how.renew_every == 0:
            follow(self.slow, self.velocity, self.how.slow_rate)

    def _descend(self, name: str, loss: Tensor) -> None:
        optimizer = self.optimizers[name]
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()


def log_volume(step: Tensor, least: float) -> Tensor:
    """Return log|det S|, with a lower bound δ for what a dimension contracts.

    It is ½ log det(S Sᵀ + δ² I): a singular map would have an infinite gradient.

    Shapes (R, D, D) -> (R,).
    """
    gram = step @ step.mT + least**2 * torch.eye(step.shape[-1])
    volume: Tensor = 0.5 * torch.linalg.slogdet(gram).logabsdet
    return volume
