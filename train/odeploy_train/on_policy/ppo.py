"""Proximal policy optimisation (arXiv 1707.06347): the core of on-policy methods.

    L = E[ max(-ρ A, -clip(ρ, 1 - ε, 1 + ε) A) ] + c_v L_value + what a method adds

Gaussian PPO, FPO and FM-IRL's student differ in the actor (what ρ is), the reward, and an added loss; these are
arguments. Collecting is as cheap as possible: one pass of the actor per tick and nothing else. Values, and all
that ρ needs of the old policy, are computed once for the whole rollout. Advantages are normalised over the whole
rollout: the scale of a minibatch with few rewards is noise. Normalisers are fixed from the first tick of a rollout
to the last minibatch on it.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from odeploy_sim.tasks.vector_env import TaskVectorEnv
from odeploy_train.modules.running_moments import OBSERVATION_CLIP, STD_FLOOR, ReturnScale, RunningMoments
from odeploy_train.on_policy.advantages import advantages, normalised
from odeploy_train.on_policy.options import PpoConfig
from odeploy_train.on_policy.rollout import Rollout, Rows
from odeploy_train.runs.learning_curve import Info


class Actor(Protocol):
    """Policy that on-policy methods improve; also an `nn.Module`."""

    def act(self, observation: Tensor, generator: torch.Generator) -> Tensor:
        """Return an action per normalised observation, before bounds.

        Shapes (N, O) -> (N, D).
        """

    def remember(self, observation: Tensor, action: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """Return what ρ needs of this policy when it is the old one.

        Shapes (M, O), (M, D) -> each (M, ...).
        """

    def objective(self, rows: Rows, clip: float) -> tuple[Tensor, Info]:
        """Return the loss of a minibatch, and figures for the curves."""

    def parameters(self) -> Iterator[nn.Parameter]:
        """Return what is trained."""


def clipped_surrogate(ratio: Tensor, advantage: Tensor, clip: float) -> tuple[Tensor, Info]:
    """Return PPO's pessimistic bound (eq. 7), to be minimised, and figures.

    The figures are the share of clipped rows and an estimate of KL.

    KL(old ‖ new) is estimated by E[ρ - 1 - log ρ], which is never negative (Schulman, 2020).

    Args:
        ratio: ρ. Shape (M,).
        advantage: Shape (M,).
        clip: ε.
    """
    clipped = ratio.clamp(1 - clip, 1 + clip)
    loss = -torch.minimum(ratio * advantage, clipped * advantage).mean()
    with torch.no_grad():
        info = {
            "kl": (ratio - 1 - ratio.log()).mean(),
            "clipped": ((ratio - 1).abs() > clip).float().mean(),
        }
    return loss, info


@dataclass
class Ppo:
    """PPO: rollouts and updates in alternation.

    Attributes:
        config: sizes and coefficients.
        actor: policy.
        critic: maps normalised observations (M, O) to values (M, 1).
        envs: environments; unit actions [-1, 1] are mapped to their limits.
        generator: generator of all random numbers except the environments'.
        reward: returns the reward of a rollout, shape (T, N), instead of the environment's.
        added_loss: returns a loss added to that of a minibatch; called once for each.
    """

    config: PpoConfig
    actor: Actor
    critic: nn.Module
    envs: TaskVectorEnv
    generator: torch.Generator
    reward: Callable[[Rollout], Tensor] | None = None
    added_loss: Callable[[], tuple[Tensor, Info]] | None = None
    steps: int = 0
    _raw: Any = field(default=None, repr=False)

    def __post_init__(self) -> None:
        space: Any = self.envs.single_action_space
        self.moments = RunningMoments(len(self.envs.task.observation))
        self.return_scale = ReturnScale(self.envs.num_envs, self.config.discount)
        self._middle, self._half = (space.high + space.low) / 2, (space.high - space.low) / 2
        self._trained = [*self.actor.parameters(), *self.critic.parameters()]
        self.optimizer = torch.optim.Adam(self._trained, lr=self.config.lr, eps=1e-5, fused=True)
        self._loss_of = torch.compile(self._loss) if self.config.compile else self._loss

    def normalise(self, raw: Tensor) -> Tensor:
        """Map raw observations to unit scale, clipped. Shape (..., O)."""
        unit = (raw - self.moments.mean) / self.moments.std(STD_FLOOR)
        return unit.clamp(-OBSERVATION_CLIP, OBSERVATION_CLIP).float()

    @torch.no_grad()
    def collect(self) -> Rollout:
        """Step every environment for T ticks; episodes continue in the next rollout."""
        T, N, O = self.config.ticks, self.envs.num_envs, len(self.envs.task.observation)  # noqa: E741
        if self._raw is None:
            self._raw = self.envs.reset()[0]
        mean, inverse = self.moments.mean.float(), (1 / self.moments.std(STD_FLOOR)).float()
        raw, observation = torch.empty(T, N, O), torch.empty(T, N, O)
        action = torch.empty(T, N, len(self._half))
        flags = np.zeros((4, T, N), np.float32)
        reward, terminated, over, success = flags
        valid = np.ones((T, N), np.bool_)
        cut: list[tuple[int, int]] = []
        cut_raw, returns = [], []
        for t in range(T):
            raw[t] = torch.from_numpy(self._raw)
            observation[t] = ((raw[t] - mean) * inverse).clamp(-OBSERVATION_CLIP, OBSERVATION_CLIP)
            action[t] = self.actor.act(observation[t], self.generator)
            sent = self._middle + self._half * action[t].numpy()
            self._raw, reward[t], terminated[t], truncated, info = self.envs.step(sent)
            np.logical_or(terminated[t], truncated, out=over[t], casting="unsafe")
            np.logical_not(info["invalid"], out=valid[t])
            if "final_obs" in info:
                ended = np.flatnonzero(info["_final_obs"])
                returns.extend(info["episode"]["r"][ended])
                success[t] = info["success"]
                for i in ended:
                    if truncated[i] and not terminated[t, i]:
                        cut.append((t, int(i)))
                        cut_raw.append(info["final_obs"][i])
        self.steps += T * N
        return Rollout(
            raw,
            observation,
            action,
            torch.from_numpy(reward),
            torch.from_numpy(terminated),
            torch.from_numpy(over),
            torch.from_numpy(valid),
            torch.from_numpy(np.array(self._raw)),
            (torch.tensor(cut, dtype=torch.int64).reshape(-1, 2), torch.from_numpy(_stack(cut_raw, O))),
            torch.tensor(np.array(returns, np.float32)),
            torch.from_numpy(success[over > 0]),
        )

    @torch.no_grad()
    def rows(self, rollout: Rollout) -> Rows:
        """Return the valid ticks with advantages, value targets and what ρ needs.

        Also adds its rewards to the reward scale.
        """
        reward = rollout.reward if self.reward is None else self.reward(rollout)
        if self.config.scale_rewards:
            reward = self.return_scale.scale(reward, rollout.over)
        value = self.critic(rollout.observation).squeeze(-1)
        last = self.critic(self.normalise(rollout.last)).squeeze(-1)
        following = torch.cat([value[1:], last[None]])
        (where, cut_raw) = rollout.cut
        if len(where):
            following[where[:, 0], where[:, 1]] = self.critic(self.normalise(cut_raw)).squeeze(-1)
        c = self.config
        advantage = advantages(
            reward, value, following, rollout.terminated, rollout.over, rollout.valid, c.discount, c.trace_decay
        ).flatten()
        observation, action = rollout.observation.flatten(0, 1), rollout.action.flatten(0, 1)
        remembered = self.actor.remember(observation, action, self.generator)
        value, valid = value.flatten(), rollout.valid.flatten()
        unit = normalised(advantage, valid)
        rows = Rows(observation, action, unit, advantage + value, value, remembered)
        return rows if valid.all() else rows.take(valid.nonzero().squeeze(-1))

    def update(self, rows: Rows, progress: float) -> dict[str, float]:
        """Run all epochs on one rollout.

        Args:
            rows: rows of the rollout.
            progress: completed share of the training, from 0 to 1, for the learning rate.

        Returns:
            Figures of the losses, as means over the minibatches.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.lr * (1 - progress)
        device = self.config.device
        totals: dict[str, Tensor] = defaultdict(lambda: torch.zeros((), device=device))
        count = 0
        with self._on(device):
            there = rows.to(device)
            for _ in range(self.config.epochs):
                order = torch.randperm(len(rows), generator=self.generator).to(device)
                infos = [self._descend(there.take(index)) for index in torch.split(order, self.config.batch)]
                for info in infos:
                    for name, figure in info.items():
                        totals[name] += figure
                count += len(infos)
                limit = self.config.kl_limit
                if math.isfinite(limit) and sum(info["kl"] for info in infos) > limit * len(infos):
                    break
        return {name: float(total) / count for name, total in totals.items()}

    def learn_scale(self, raw: Tensor) -> None:
        """Add observations to the normaliser; between rollouts, never within one.

        Shape (M, O).
        """
        self.moments.see(raw)

    @contextmanager
    def _on(self, device: str) -> Iterator[None]:
        """Move everything that an update changes to a device, and back to the CPU."""
        self._move(device)
        try:
            yield
        finally:
            self._move("cpu")

    def _move(self, device: str) -> None:
        for module in (self.actor, self.critic):
            assert isinstance(module, nn.Module)
            module.to(device)
        for state in self.optimizer.state.values():
            state.update({name: kept.to(device) for name, kept in state.items()})

    def _descend(self, rows: Rows) -> Info:
        loss, info = self._loss_of(rows)
        if self.added_loss is not None:
            added, more = self.added_loss()
            loss, info = loss + added, info | more
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        info["gradient_norm"] = nn.utils.clip_grad_norm_(self._trained, self.config.gradient_norm)
        self.optimizer.step()
        return info

    def _loss(self, rows: Rows) -> tuple[Tensor, Info]:
        loss, info = self.actor.objective(rows, self.config.clip)
        value_loss = self._value_loss(rows)
        return loss + self.config.value_coefficient * value_loss, info | {"value_loss": value_loss.detach()}

    def _value_loss(self, rows: Rows) -> Tensor:
        value: Tensor = self.critic(rows.observation).squeeze(-1)
        error = (value - rows.target).square()
        if self.config.value_clip is not None:
            near = rows.value + (value - rows.value).clamp(-self.config.value_clip, self.config.value_clip)
            error = torch.maximum(error, (near - rows.target).square())
        return error.mean()


def _stack(rows: list[Any], size: int) -> Any:
    return np.stack(rows).astype(np.float32) if rows else np.zeros((0, size), np.float32)
