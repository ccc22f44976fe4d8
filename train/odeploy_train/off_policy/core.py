"""The core of off-policy methods: ticks, twin critics, target networks.

    L_Q = ½ E[ (Q_1(s, a) - y)² + (Q_2(s, a) - y)² ],    y = r + γ (1 - terminated) V̄(s')

as in SAC (Haarnoja et al., arXiv 1812.05905). The actor computes V̄ from the target critics: hard, min(Q̄_1, Q̄_2)
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
from odeploy_train.modules.networks import mlp
from odeploy_train.modules.running_moments import OBSERVATION_CLIP, STD_FLOOR, RunningMoments
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
    target_rate: float = 0.005
    """How far the target critics move towards the critics per update, from 0 to 1."""
    critic_widths: tuple[int, ...] = (256, 256)
    """Hidden layers of each critic, ReLU."""


class TwinCritics(nn.Module):
    """Q_1 and Q_2 over [normalised observation, unit action], ReLU between layers."""

    def __init__(self, observation_size: int, action_size: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.both = nn.ModuleList(mlp((observation_size + action_size, *widths, 1), nn.ReLU) for _ in range(2))

    def forward(self, observation: Tensor, action: Tensor) -> Tensor:
        """Return both values. Shapes (..., O), (..., D) -> (2, ...)."""
        seen = torch.cat([observation, action], dim=-1)
        return torch.stack([critic(seen).squeeze(-1) for critic in self.both])

    def smaller(self, observation: Tensor, action: Tensor) -> Tensor:
        """Return min(Q_1, Q_2). Shapes (..., O), (..., D) -> (...)."""
        return torch.minimum(*self(observation, action))

    def judge(self, observation: Tensor, candidates: Tensor) -> Tensor:
        """Return min(Q_1, Q_2) of M actions per state.

        Shapes (B, O), (B, M, D) -> (B, M).
        """
        return self.smaller(observation[:, None].expand(-1, candidates.shape[1], -1), candidates)


class Actor(nn.Module, ABC):
    """Policy that improves by critics.

    Observations are normalised, actions in unit scale.

    Attributes:
        optimizers: optimizers of its parameters, by any name.
        improves_replay: whether it writes better actions into the replay buffer, by `Transitions.improved`.
    """

    optimizers: dict[str, Optimizer]
    improves_replay: ClassVar[bool] = False

    @abstractmethod
    def act(self, observation: Tensor, critics: TwinCritics, generator: torch.Generator) -> Tensor:
        """Return actions to try in the environment. Shapes (N, O) -> (N, D)."""

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
        owed: updates due for the ticks so far.
    """

    config: OffPolicyConfig
    actor: Actor
    critics: TwinCritics
    envs: TaskVectorEnv
    generator: torch.Generator
    steps: int = 0
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
        rows = before, action, reward, following, terminated
        self.replay.add(*(row[sound] for row in rows))
        if len(self.replay) >= self.config.start_steps:
            self.owed += self.config.updates_per_step * len(reward)
        returns = info["episode"]["r"] if "episode" in info else np.zeros(len(reward))
        return returns[ended], info["success"][ended]

    def update(self) -> Info:
        """Update critics, actor and targets, in this order, on one batch."""
        self.owed -= 1
        drawn = self.replay.draw(self.config.batch, self.generator)
        seen, following = self.normalise(drawn.observation), self.normalise(drawn.following)
        rows = replace(drawn, observation=seen, following=following)
        loss, info = self.critic_loss(rows)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        if self.steps >= self.config.actor_start_steps:
            self.critics.requires_grad_(False)  # the actor's gradient passes through them
            info |= self.actor.improve(rows, self.critics, self.generator)
            self.critics.requires_grad_(True)
            if rows.improved is not None and rows.index is not None:
                self.replay.take_back(rows.index, rows.improved)
        with torch.no_grad():
            for target, weight in zip(self.targets.parameters(), self.critics.parameters(), strict=True):
                target.lerp_(weight, self.config.target_rate)
        return info

    def critic_loss(self, rows: Transitions) -> tuple[Tensor, Info]:
        """Return L_Q of normalised transitions, and figures for the curves."""
        with torch.no_grad():
            worth = self.actor.value(rows.following, self.targets, self.generator)
            y = rows.reward + self.config.discount * (1 - rows.terminated) * worth
        both = self.critics(rows.observation, rows.action)
        loss = 0.5 * (both - y).square().mean(dim=1).sum()
        return loss, {"critic_loss": loss.detach(), "q": both.detach().mean(), "target": y.mean()}

    def _choose(self) -> NDArray[np.float32]:
        if self.steps < self.config.start_steps:
            shape = len(self._raw), len(self._half)
            unit = 2 * torch.rand(shape, generator=self.generator) - 1
        else:
            unit = self.actor.act(self.normalise(torch.from_numpy(self._raw)), self.critics, self.generator)
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
