"""FMER (arXiv 2603.17685): a flow regressed on candidates weighted by critics.

    a_i = tanh(u_i),    u_i = flow(s, ε_i),    i = 1 .. M,    w = softmax(A / τ) over A_i = min(Q_1, Q_2) - mean
    L = E_s Σ_i w_i ‖ v(s, x_t, t) - (u_i - ε') ‖²,    x_t = (1 - t) ε' + t u_i,    ε' fresh
    minimise L - α H,    α by dual ascent to a target entropy

The paper's abstract states: candidates from the policy, weights by the critic's advantage, no back-propagation
through the ODE, a tractable entropy, and in the environment the candidate of the highest Q. All else here is our
reconstruction; the paper may differ:

- The entropy of the squashed action, with the divergence by Hutchinson's estimate,

      H = (D/2) log(2πe) + E ∫_0^1 div v(x_t, t) dt + E Σ_j log(1 - tanh² u_j),

  is that of the continuous flow, with the integral as a mean over the K points that Euler steps visit. The map of
  K steps has another one where a step is not small.
- Paths are constants, and so would be the tanh term: then div v alone is pushed up, and at a high target u runs
  away until all actions saturate. Its gradient is kept to first order: u moves by ∫ δv dt along the path, so
  E ∫ -2 tanh(u) · v(x_t, t) dt, with u constant, is added.
- Critics learn the value of one raw sample, by the smaller of both targets: hard, since α weighs against a
  regression and is no measure for Q.
- With `uniform`, some candidates are drawn uniformly from all actions, as in QVPO's entropy term
  (`diffusion_rl.qvpo`). A policy that is regressed on its own samples alone drifts where Q is flat, and does not
  recover a mode that it has lost: a candidate's weight does not depend on how many others are like it, and div v
  is local. With them π = m w / (1 - (1 - m) w) at rest, where m is their share and w the weight of an action in
  units of the mean: as even as Q is.
- M, N, K, ρ, target entropy, widths and learning rates are our choices.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from odeploy_train.modules.flow_matching import straight_path
from odeploy_train.modules.flow_paths import Path, sign_probes, solve, velocity_and_divergence
from odeploy_train.modules.networks import VelocityNet
from odeploy_train.modules.squash import SATURATED, log_slope
from odeploy_train.off_policy.candidate_weights import advantage_weights, effective_size
from odeploy_train.off_policy.core import Actor, TwinCritics
from odeploy_train.off_policy.replay import Transitions
from odeploy_train.runs.learning_curve import Info

_LOG_2PI = math.log(2 * math.pi)


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
    """

    def __init__(self, velocity: VelocityNet, how: Improvement) -> None:
        super().__init__()
        self.velocity, self.how = velocity, how
        self.log_alpha = nn.Parameter(torch.tensor(how.alpha).log())
        self.optimizers = {
            "velocity": torch.optim.Adam(velocity.parameters(), lr=how.actor_lr, fused=True),
            "alpha": torch.optim.Adam([self.log_alpha], lr=how.alpha_lr),
        }

    def propose(self, observation: Tensor, count: int, generator: torch.Generator) -> Path:
        """Return `count` paths from fresh noise per state; constants. Shape (B, O)."""
        shape = len(observation), count, self.velocity.action_size
        return solve(self.velocity, observation, torch.randn(shape, generator=generator), self.how.solver_steps)

    @torch.no_grad()
    def act(self, observation: Tensor, critics: TwinCritics, generator: torch.Generator) -> Tensor:
        """Return the best of N. Shapes (B, O) -> (B, D)."""
        actions = self.propose(observation, self.how.choices, generator).end.tanh()
        best = critics.judge(observation, actions).argmax(dim=1)
        return actions[torch.arange(len(best)), best]

    @torch.no_grad()
    def value(self, observation: Tensor, targets: TwinCritics, generator: torch.Generator) -> Tensor:
        """Return min(Q̄_1, Q̄_2) of one raw sample. Shapes (B, O) -> (B,)."""
        return targets.judge(observation, self.propose(observation, 1, generator).end.tanh())[:, 0]

    def improve(self, rows: Transitions, critics: TwinCritics, generator: torch.Generator) -> Info:
        """Take one step of the velocity on L - α H, and one of α."""
        observation = rows.observation
        path = self.propose(observation, self.how.candidates, generator)
        B, _, D = path.end.shape
        uniform = (2 * torch.rand(B, self.how.uniform, D, generator=generator) - 1).clamp(-SATURATED, SATURATED)
        u = torch.cat([path.end, uniform.atanh()], dim=1)
        with torch.no_grad():
            value = critics.judge(observation, u.tanh())
        weights, temperature = advantage_weights(value, self.how.effective_share)
        regression = self.regression(observation, u, weights, generator)
        entropy, lift = self.entropy(observation, path, generator)
        alpha = self.log_alpha.detach().exp()
        self._descend("velocity", regression - alpha * lift)
        self._descend("alpha", self.log_alpha * (entropy - self.how.target_entropy))
        return {
            "regression": regression.detach(),
            "entropy": entropy,
            "alpha": alpha,
            "temperature": temperature,
            "effective_share": effective_size(weights).mean() / u.shape[1],
            "saturated": (path.end.tanh().abs() > 0.99).float().mean(),
        }

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
        """Return H, a constant, and E ∫ (div v - 2 tanh(u) · v) dt, with its gradient."""
        K, B, _, D = path.states.shape
        E = self.how.entropy_draws
        k = torch.randint(K, (B, E), generator=generator)
        x = path.states[k, torch.arange(B)[:, None], torch.arange(E)].view(B * E, D)
        u = path.end[:, :E].reshape(B * E, D)
        v, divergence = velocity_and_divergence(
            self.velocity,
            observation.repeat_interleave(E, dim=0),
            x,
            path.times[k].flatten(),
            sign_probes(x, 1, generator),
        )
        lift = (divergence - 2 * (u.tanh() * v).sum(-1)).mean()
        entropy = D / 2 * (_LOG_2PI + 1) + divergence.detach().mean() + log_slope(path.end).mean()
        return entropy, lift

    def _descend(self, name: str, loss: Tensor) -> None:
        optimizer = self.optimizers[name]
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
