"""`odeploy train dppo`: a flow policy trained by PPO on its sampler's steps.

DPPO (arXiv 2409.00588) treats the denoising chain as an inner decision process (section 4.1): in state (s, x_k)
the policy chooses x_{k+1}, and only the last choice, the action, is rewarded. Every choice is Gaussian,

    π̄_θ(x_{k+1} | x_k, s) = N(x_k + Δt v_θ(s, x_k, t_k), σ² I),    k = 0 ... K - 1,    x_0 ~ N(0, I)

so its likelihood is known, though that of the action is not. PPO clips a ratio for each step (section 4.2):

    ρ_k = π̄_θ(x_{k+1} | x_k, s) / π̄_old(x_{k+1} | x_k, s),    A_k = γ_denoise^(K-1-k) A(s, a)

The critic sees s alone, and γ_denoise gives the noisy first steps less weight. The paper counts its steps
backwards, from K to 0.

The chain here is that of the DPPO baseline in FPO's code: Euler steps of a flow with Gaussian noise added, so all
methods of a comparison train one kind of policy and export one graph. An Euler step has no noise of its own: σ
corresponds to DPPO's lower bounds (section 4.3), one of sampling and one of the likelihood. FPO's code samples
with σ but judges with σ √Δt, which takes each ratio to the power 1/Δt; a `--likelihood-std` of √Δt times the other
does the same.

As in FPO's baseline all K steps learn. Left out is what DPPO has for tuning a cloned policy: a frozen copy for the
first steps, and a clip that grows along the chain.
"""

import math
from dataclasses import dataclass
from time import perf_counter
from typing import Literal

import torch
import tyro
from torch import Tensor

from odeploy_runtime.errors import UsageError
from odeploy_train.flow_rl import run as flow_run
from odeploy_train.flow_rl.actor import FlowActor, Sampling
from odeploy_train.flow_rl.run import run, sampling
from odeploy_train.modules.networks import VelocityNet
from odeploy_train.modules.ode import EULER, integrate
from odeploy_train.on_policy.ppo import clipped_surrogate
from odeploy_train.on_policy.ratio import limited_ratio
from odeploy_train.on_policy.rollout import Rows
from odeploy_train.policies.flow import FlowConfig, velocity_net
from odeploy_train.runs.learning_curve import Info
from odeploy_train.runs.options import require_positive

_HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


@dataclass(frozen=True)
class Chain:
    """Sampler as a decision process; defaults of DPPO's code on hopper."""

    discount: float = 0.99
    """Discount γ_denoise of a step."""
    exploration_std: float = 0.1
    """σ of rollouts, in the flow's scale: the paper's lower bound of the sampling noise."""
    likelihood_std: float = 0.1
    """σ of the ratio: the paper's lower bound of the noise in a likelihood."""


@dataclass(frozen=True)
class Config(flow_run.Config):
    """Train a flow policy by DPPO. The same command continues an interrupted run."""

    denoising_discount: float = Chain.discount
    """Discount γ_denoise of the advantage per step before the action."""
    exploration_std: float = Chain.exploration_std
    """Standard deviation of the noise added at each sampler step of a rollout. To tune a teacher with little noise
    of its own, use more, such as 0.3."""
    likelihood_std: float = Chain.likelihood_std
    """Standard deviation in the likelihood of a step."""
    solver: Literal["euler"] = "euler"
    """Solver of rollouts; the chain consists of Euler steps."""


def main(arguments: list[str]) -> None:
    """Train, or continue, and print the run folder."""
    config = tyro.cli(Config, args=arguments, prog="odeploy train dppo")
    require_positive(exploration_std=config.exploration_std, likelihood_std=config.likelihood_std)
    if not 0 < config.denoising_discount <= 1:
        raise UsageError(
            where="--denoising-discount",
            expected="above 0 and at most 1",
            got=f"{config.denoising_discount:g}",
            remedy="change it",
        )
    run("dppo", config, actor)


def actor(config: Config, sizes: FlowConfig, _generator: torch.Generator) -> "DppoActor":
    """Make the actor that the options describe."""
    chain = Chain(config.denoising_discount, config.exploration_std, config.likelihood_std)
    return DppoActor(velocity_net(sizes), sampling(config), chain)


class DppoActor(FlowActor):
    """Flow whose sampler's steps are the decisions; see `on_policy.ppo.Actor`.

    The steps cannot be recovered from the action: `act` stores the chains, in order, until `remember` takes them.

    Args:
        velocity, sampling: see `FlowActor`; the solver is Euler's, the perturbation is not used.
        chain: noise and discount of the steps.
    """

    dt: Tensor
    discounts: Tensor

    def __init__(self, velocity: VelocityNet, sampling: Sampling, chain: Chain) -> None:
        super().__init__(velocity, sampling)
        self.chain = chain
        grid = torch.tensor(sampling.t_grid, dtype=torch.float64)
        K = len(grid) - 1
        self.register_buffer("dt", grid.diff().float(), False)
        self.register_buffer("discounts", torch.tensor([chain.discount ** (K - 1 - k) for k in range(K)]), False)
        self._chains: list[Tensor] = []

    @torch.no_grad()
    def act(self, observation: Tensor, generator: torch.Generator) -> Tensor:
        """Sample a unit action and store its chain. Shapes (N, O) -> (N, D)."""
        begun = perf_counter()
        shape = len(observation), self.velocity.action_size
        states = [torch.randn(shape, generator=generator)]

        def decide(x: Tensor, slope: Tensor, dt: float) -> Tensor:
            mean = torch.add(x, slope, alpha=dt * self.sampling.output_scale)
            states.append(mean.add_(torch.randn(shape, generator=generator), alpha=self.chain.exploration_std))
            return mean

        x = integrate(self.split_field(observation), states[0], EULER, self.sampling.t_grid, decide)
        self._chains.append(torch.stack(states, dim=1))
        action = self.to_unit(x)
        self.sampling_s += perf_counter() - begun
        return action

    def remember(self, observation: Tensor, action: Tensor, _generator: torch.Generator) -> dict[str, Tensor]:
        """Return the chains of the actions, and their log-likelihoods by this policy.

        Raises:
            ValueError: these are not the last actions of `act`.
        """
        states = torch.cat(self._chains)[-len(action) :]
        self._chains.clear()
        if not torch.equal(self.to_unit(states[:, -1]), action):
            raise ValueError("remember: expected the last actions of act, in their order, got others")
        embedded = self.embedded.expand(len(action), -1, -1)
        kept = {"inputs": torch.cat([states[:, :-1], embedded], dim=-1), "next": states[:, 1:]}
        return kept | {"log_likelihood": self.log_likelihood(observation, kept)}

    def log_likelihood(self, observation: Tensor, kept: dict[str, Tensor]) -> Tensor:
        """Return log π̄_θ(x_{k+1} | x_k, s) of each step of stored chains.

        Shapes (M, O), ...

        -> (M, K).
        """
        D, std = self.velocity.action_size, self.chain.likelihood_std
        mean = kept["inputs"][..., :D] + self.dt[:, None] * self.velocities(observation, kept["inputs"])
        unit = (kept["next"] - mean) / std
        log_likelihood: Tensor = -0.5 * unit.square().sum(-1) - D * (math.log(std) + _HALF_LOG_2PI)
        return log_likelihood

    def objective(self, rows: Rows, clip: float) -> tuple[Tensor, Info]:
        """Return PPO's clipped surrogate over all steps of all chains.

        The reported KL is the chain's, the sum over its steps: an upper bound of the action's.
        """
        new = self.log_likelihood(rows.observation, rows.remembered)
        ratio = limited_ratio(new - rows.remembered["log_likelihood"])
        loss, info = clipped_surrogate(ratio, rows.advantage[:, None] * self.discounts, clip)
        info["kl"] = info["kl"] * len(self.dt)
        return loss, info | {"log_likelihood": new.detach().sum(-1).mean()}
