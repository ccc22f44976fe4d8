"""The core of off-policy methods: ticks, updates, target networks.

    L_Q = ½ E[ (Q_1(s, a) - y)² + (Q_2(s, a) - y)² ],    y = R + γ^m (1 - terminated) V̄(s')

over transitions of m ticks with return R, usually one (`n_step.py`); as in SAC (Haarnoja et al., arXiv
1812.05905). The actor computes V̄ from the target critics: hard, min(Q̄_1, Q̄_2)
of an action of its own, or soft, with an entropy bonus. SAC, FMER and the diffusion policies differ in the actor:
how it acts, what V̄ is, how it improves by the critics.

The value of a truncated episode is bootstrapped. An episode that a broken simulation ended is not stored.
"""

import copy
from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import Optimizer

from odeploy_runtime.errors import ContractError
from odeploy_sim.tasks.vector_env import TaskVectorEnv
from odeploy_train.modules.running_moments import OBSERVATION_CLIP, STD_FLOOR, RunningMoments
from odeploy_train.off_policy.critics import TwinCritics
from odeploy_train.off_policy.held_noise import HeldNoise
from odeploy_train.off_policy.n_step import NStep
from odeploy_train.off_policy.replay import Replay, Transitions
from odeploy_train.runs.learning_curve import Info


@dataclass(frozen=True)
class OffPolicyConfig:
    """Sizes and coefficients that every off-policy verb offers."""

    batch: int = 256
    """Transitions per update."""
    updates_per_step: float = 1.0
    """Updates per environment step."""
    start_steps: int = 5_000
    """Steps of uniformly random actions at the start; updates wait until the replay buffer holds as many."""
    actor_start_steps: int = 0
    """Steps before which only the critics learn: a policy would commit itself to their first guesses."""
    capacity: int = 1_000_000
    """Transitions that the replay buffer holds."""
    lr: float = 3e-4
    """Learning rate of the critics, constant; SAC uses it for its policy too."""
    discount: float = 0.99
    """Discount γ."""
    returns: int = 1
    """Ticks n of the critics' returns; more reach a sparse reward sooner, but count actions of older policies."""
    target_rate: float = 0.005
    """How far the target critics move towards the critics per update, from 0 to 1."""
    critic_widths: tuple[int, ...] = (256, 256)
    """Hidden layers of each critic, ReLU."""
    critic_norm: bool = True
    """Whether each critic has a LayerNorm before its activations."""
    actor_every: int = 1
    """Updates of the critics per update of the actor."""
    hold: int = 1
    """Ticks for which exploration noise is held in each environment; redrawn at the start of an episode."""


class Actor(nn.Module, ABC):
    """Policy that improves by critics.

    Observations are normalised, actions in unit scale.

    Attributes:
        optimizers: optimizers of its parameters, by any name.
        noise_shape: shape of one environment's exploration noise, N(0, I).
        improves_replay: whether it writes better actions into the replay buffer, by `Transitions.improved`.
    """

    optimizers: dict[str, Optimizer]
    noise_shape: tuple[int, ...]
    improves_replay: ClassVar[bool] = False

    @abstractmethod
    def act(self, observation: Tensor, critics: TwinCritics, noise: Tensor) -> Tensor:
        """Return actions to try in the environment.

        Shapes (E, O), (E, *noise_shape) -> (E, D).
        """

    @abstractmethod
    def value(self, observation: Tensor, targets: TwinCritics, generator: torch.Generator) -> Tensor:
        """Return V̄, the value of states by this policy, without a gradient.

        Shapes (B, O) -> (B,).
        """

    @abstractmethod
    def improve(self, rows: Transitions, critics: TwinCritics, generator: torch.Generator) -> Info:
        """Update the actor once, and return figures for the curves."""


@dataclass
class OffPolicy:
    """Off-policy learning: ticks and updates.

    Attributes:
        config: sizes and coefficients.
        actor: policy.
        critics: Q_1 and Q_2.
        envs: environments; unit actions [-1, 1] are mapped to their limits.
        generator: generator of all random numbers except the environments'.
        steps: environment steps so far, summed over all environments.
        updates: updates of the critics so far.
        owed: updates due for the ticks so far.
    """

    config: OffPolicyConfig
    actor: Actor
    critics: TwinCritics
    envs: TaskVectorEnv
    generator: torch.Generator
    steps: int = 0
    updates: int = 0
    owed: float = 0.0
    _raw: Any = field(default=None, repr=False)

    def __post_init__(self) -> None:
        space: Any = self.envs.single_action_space
        self._middle, self._half = (space.high + space.low) / 2, (space.high - space.low) / 2
        O, D = len(self.envs.task.observation), len(self._half)  # noqa: E741
        self.moments = RunningMoments(O)
        self.replay = Replay(self.config.capacity, O, D, improvable=self.actor.improves_replay)
        self.targets = copy.deepcopy(self.critics).requires_grad_(False)
        self.optimizer = torch.optim.Adam(self.critics.parameters(), lr=self.config.lr, fused=True)
        E, G = self.envs.num_envs, self.generator
        self._n_step = NStep(E, self.config.returns, self.config.discount)
        shape = self.actor.noise_shape
        self._uniform = HeldNoise(E, self.config.hold, lambda n: 2 * torch.rand((n, D), generator=G) - 1)
        self._normal = HeldNoise(E, self.config.hold, lambda n: torch.randn((n, *shape), generator=G))

    def normalise(self, raw: Tensor) -> Tensor:
        """Map raw observations to unit scale, clipped. Shape (..., O)."""
        unit = (raw - self.moments.mean) / self.moments.std(STD_FLOOR)
        return unit.clamp(-OBSERVATION_CLIP, OBSERVATION_CLIP).float()

    @torch.no_grad()
    def tick(self) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Step every environment once, and store the transitions.

        Returns:
            Returns and successes of the episodes that ended. Shapes (E,), (E,).

        Raises:
            ContractError: an observation or a reward is not finite; nothing is stored.
        """
        if self._raw is None:
            self._raw = self.envs.reset()[0]
        before, action = self._raw, self._choose()
        sent = self._middle + self._half * action
        self._raw, reward, terminated, truncated, info = self.envs.step(sent)
        following, ended = self._raw.copy(), terminated | truncated
        for i in np.flatnonzero(ended):
            following[i] = info["final_obs"][i]
        self.steps += len(reward)
        self._require_finite(observation=before, following=following, reward=reward)
        self.moments.see(torch.from_numpy(before))
        sound = ~info["invalid"]
        self.replay.add(*self._n_step.add(before, action, reward, following, terminated, ended, sound))
        for noise in (self._uniform, self._normal):
            noise.restart(torch.from_numpy(ended))
        if len(self.replay) >= self.config.start_steps:
            self.owed += self.config.updates_per_step * len(reward)
        returns = info["episode"]["r"] if "episode" in info else np.zeros(len(reward))
        return returns[ended], info["success"][ended]

    def update(self) -> Info:
        """Update critics, actor and targets, in this order, on one batch.

        The actor is updated at every `actor_every`-th call.
        """
        self.owed -= 1
        self.updates += 1
        drawn = self.replay.draw(self.config.batch, self.generator)
        seen, following = self.normalise(drawn.observation), self.normalise(drawn.following)
        rows = replace(drawn, observation=seen, following=following)
        loss, info = self.critic_loss(rows)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        if self.steps >= self.config.actor_start_steps and self.updates % self.config.actor_every == 0:
            self.critics.requires_grad_(False)  # the actor's gradient passes through them
            info |= self.actor.improve(rows, self.critics, self.generator)
            self.critics.requires_grad_(True)
            if rows.improved is not None and rows.index is not None:
                self.replay.take_back(rows.index, rows.improved)
        follow(self.targets, self.critics, self.config.target_rate)
        return info

    def critic_loss(self, rows: Transitions) -> tuple[Tensor, Info]:
        """Return L_Q of normalised transitions, and figures for the curves."""
        with torch.no_grad():
            worth = self.actor.value(rows.following, self.targets, self.generator)
            y = rows.reward + self.config.discount**rows.span * (1 - rows.terminated) * worth
        both = self.critics(rows.observation, rows.action)
        loss = 0.5 * (both - y).square().mean(dim=1).sum()
        return loss, {"critic_loss": loss.detach(), "q": both.detach().mean(), "target": y.mean()}

    def _choose(self) -> NDArray[np.float32]:
        if self.steps < self.config.start_steps:
            unit = self._uniform.tick()
        else:
            seen = self.normalise(torch.from_numpy(self._raw))
            unit = self.actor.act(seen, self.critics, self._normal.tick())
        chosen: NDArray[np.float32] = unit.numpy()
        return chosen

    def _require_finite(self, **arrays: NDArray[Any]) -> None:
        for name, array in arrays.items():
            bad = np.argwhere(~np.isfinite(array))
            if len(bad):
                at = ", ".join(f"{what} {i}" for what, i in zip(("environment", "signal"), bad[0], strict=False))
                raise ContractError(
                    where=f"tick that ends at step {self.steps}: {name}, {at}",
                    expected="a finite number",
                    got=f"{array[tuple(bad[0])]}",
                    remedy="check the task or lower --lr; the same command continues from the last checkpoint",
                )


@torch.no_grad()
def follow(slow: nn.Module, fast: nn.Module, rate: float) -> None:
    """Move a copy's weights towards those of its original, by a share of the distance."""
    for own, weight in zip(slow.parameters(), fast.parameters(), strict=True):
        own.lerp_(weight, rate)
