"""The learned reward of adversarial methods, trained once per rollout.

The discriminator then rewards every tick. Expert and student are normalised by the student's present observation
normaliser. The reward of a rollout is computed once, so that all epochs on it agree. The environment's own reward
is not used.
"""

from collections import defaultdict
from dataclasses import dataclass

import torch
from rich.console import Console
from torch import Tensor, nn

from odeploy_runtime.signals import highs, lows
from odeploy_sim.demonstrations.dataset import Demonstrations
from odeploy_sim.tasks.task import Task
from odeploy_train.inverse_rl.classification import Discriminator, Transitions
from odeploy_train.on_policy.ppo import Ppo
from odeploy_train.on_policy.rollout import Rollout
from odeploy_train.on_policy.run import Learner

REWARD_ROWS = 256  # ticks rewarded at once: activations that stay in the cache


@dataclass(frozen=True, kw_only=True)
class RewardOptions:
    """Options of a discriminator's training."""

    discriminator_lr: float = 3e-4
    """Learning rate of the discriminator, constant."""
    discriminator_batch: int = 128
    """Ticks of the student per batch, and as many of the expert."""
    discriminator_epochs: int = 1
    """Passes over the ticks of a rollout; the expert's are sampled at random."""


class LearnedReward:
    """Discriminator in training, with its rewards.

    Args:
        ppo: learner of the student, for its normaliser and random numbers.
        module: discriminator.
        demonstrations: demonstrations in raw units.
        task: task with the limits of the action.
        options: options of the discriminator's training.

    Attributes:
        optimizer: optimizer of the discriminator.
    """

    def __init__(
        self,
        ppo: Ppo,
        module: Discriminator,
        demonstrations: Demonstrations,
        task: Task,
        options: RewardOptions,
    ) -> None:
        assert isinstance(module, nn.Module)
        self.ppo, self.module, self.options = ppo, module, options
        self.optimizer = torch.optim.Adam(module.parameters(), lr=options.discriminator_lr, fused=True)
        low, high = torch.from_numpy(lows(task.action)).double(), torch.from_numpy(highs(task.action)).double()
        self._raw = torch.from_numpy(demonstrations.observations)
        self._action = ((torch.from_numpy(demonstrations.actions) - (high + low) / 2) / ((high - low) / 2)).float()
        self._ended = torch.zeros(len(self._action))
        self._ended[torch.from_numpy(demonstrations.starts)[1:] - 1] = 1
        self._ended[-1] = 1
        self._rewards: Tensor | None = None

    def learn(self, rollout: Rollout) -> dict[str, float]:
        """Train on a rollout, then compute its rewards; return means over the batches."""
        agent = self.agent_transitions(rollout)
        totals: dict[str, Tensor] = defaultdict(lambda: torch.zeros(()))
        generator, count = self.ppo.generator, 0
        for _ in range(self.options.discriminator_epochs):
            order = torch.randperm(len(agent), generator=generator)
            for index in torch.split(order, self.options.discriminator_batch):
                loss, info = self.module.loss(self.draw_expert(len(index)), agent.take(index), generator)
                self.optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                self.optimizer.step()
                for name, figure in (info | {"loss": loss.detach()}).items():
                    totals[name] += figure
                count += 1
        self._rewards = self._rewards_of(agent).view(rollout.reward.shape)
        figures = {f"discriminator/{name}": float(total) / count for name, total in totals.items()}
        return figures | {"discriminator/reward": float(self._rewards.mean())}

    def reward(self, _rollout: Rollout) -> Tensor:
        """Return the reward of the latest rollout. Shape (T, N)."""
        assert self._rewards is not None
        return self._rewards

    def draw_expert(self, count: int) -> Transitions:
        """Return ticks of the demonstrations, drawn at random."""
        return self.expert_transitions(torch.randint(len(self._raw), (count,), generator=self.ppo.generator))

    def expert_transitions(self, rows: Tensor | None = None) -> Transitions:
        """Return the demonstrations, or some rows, by the student's normaliser.

        Shape (M,).
        """
        rows = torch.arange(len(self._raw)) if rows is None else rows
        following = self._raw[(rows + 1) % len(self._raw)]
        observation = self.ppo.normalise(self._raw[rows])
        return Transitions(observation, self._action[rows], self.ppo.normalise(following), self._ended[rows])

    def agent_transitions(self, rollout: Rollout) -> Transitions:
        """Return a rollout as transitions, tick after tick, of all environments."""
        following = torch.cat([rollout.raw[1:], rollout.last[None]])
        where, cut_raw = rollout.cut
        following[where[:, 0], where[:, 1]] = cut_raw
        return Transitions(
            rollout.observation.flatten(0, 1),
            rollout.action.flatten(0, 1),
            self.ppo.normalise(following).flatten(0, 1),
            rollout.terminated.flatten(),
        )

    @torch.no_grad()
    def _rewards_of(self, agent: Transitions) -> Tensor:
        """Return the reward of each tick, some rows at a time. Shape (M,)."""
        parts = torch.split(torch.arange(len(agent)), REWARD_ROWS)
        return torch.cat([self.module.reward(agent.take(rows), self.ppo.generator) for rows in parts])


def attach(
    learner: Learner, options: RewardOptions, module: Discriminator, demonstrations: Demonstrations, task: Task
) -> LearnedReward:
    """Let a discriminator reward a learner; add the demonstrations to its normaliser.

    The learner's own `before_update` is still called.
    """
    assert isinstance(module, nn.Module)
    learner.ppo.learn_scale(torch.from_numpy(demonstrations.observations))
    reward = LearnedReward(learner.ppo, module, demonstrations, task, options)
    before = learner.before_update

    def before_update(rollout: Rollout) -> dict[str, float]:
        return (before(rollout) if before else {}) | reward.learn(rollout)

    learner.ppo.reward, learner.before_update = reward.reward, before_update
    learner.more["discriminator"], learner.optimizers["discriminator"] = module, reward.optimizer
    return reward


def warn_of_one_episode(demonstrations: Demonstrations) -> None:
    """Print a warning if the demonstrations are a single episode."""
    if len(demonstrations.starts) == 1:
        Console().print("one episode only: the discriminator may overfit to it", highlight=False)
