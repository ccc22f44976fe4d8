"""The reward that adversarial methods learn: once a rollout a discriminator is trained, then it pays every tick.

Expert and student are seen through the student's observation normaliser as it is at the moment. The reward of a
rollout is computed once, so that all epochs on it agree; the environment's own has no part in it.
"""

from collections import defaultdict

import torch
from torch import Tensor, nn

from sim_bridge.demonstrations import Demonstrations
from train.adversarial import Discriminator, Transitions
from train.ppo import Ppo, Rollout


class LearnedReward:
    """A discriminator in training, and the rewards that it gives.

    Args:
        ppo: the student's, for its normaliser and its random numbers.
        module: the discriminator.
        demonstrations: in raw units.
        low, high: of the action. Shape (A,).
        lr: of the discriminator.
        batch: ticks of each side.
        epochs: passes over the ticks of a rollout.

    Attributes:
        optimizer: of the discriminator.
    """

    def __init__(
        self,
        ppo: Ppo,
        module: Discriminator,
        demonstrations: Demonstrations,
        low: Tensor,
        high: Tensor,
        lr: float,
        batch: int,
        epochs: int,
    ) -> None:
        assert isinstance(module, nn.Module)
        self.ppo, self.module, self.batch, self.epochs = ppo, module, batch, epochs
        self.optimizer = torch.optim.Adam(module.parameters(), lr=lr, fused=True)
        self._raw = torch.from_numpy(demonstrations.observations)
        self._action = ((torch.from_numpy(demonstrations.actions) - (high + low) / 2) / ((high - low) / 2)).float()
        self._ended = torch.zeros(len(self._action))
        self._ended[torch.from_numpy(demonstrations.starts)[1:] - 1] = 1
        self._ended[-1] = 1
        self._rewards: Tensor | None = None

    def learn(self, rollout: Rollout) -> dict[str, float]:
        """The passes over a rollout, then its rewards; figures are means over the batches."""
        agent, expert = self.agent_transitions(rollout), self.expert_transitions()
        totals: dict[str, Tensor] = defaultdict(lambda: torch.zeros(()))
        generator, count = self.ppo.generator, 0
        for _ in range(self.epochs):
            order = torch.randperm(len(agent), generator=generator)
            for index in torch.split(order, self.batch):
                drawn = torch.randint(len(expert), (len(index),), generator=generator)
                loss, info = self.module.loss(expert.take(drawn), agent.take(index), generator)
                self.optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                self.optimizer.step()
                for name, figure in (info | {"loss": loss.detach()}).items():
                    totals[name] += figure
                count += 1
        with torch.no_grad():
            self._rewards = self.module.reward(agent, generator).view(rollout.reward.shape)
        figures = {f"discriminator/{name}": float(total) / count for name, total in totals.items()}
        return figures | {"discriminator/reward": float(self._rewards.mean())}

    def reward(self, _rollout: Rollout) -> Tensor:
        """Of the rollout that was learnt from last. Shape (T, N)."""
        assert self._rewards is not None
        return self._rewards

    def expert_transitions(self) -> Transitions:
        """The demonstrations, as the student's normaliser sees them now."""
        observation = self.ppo.normalise(self._raw)
        return Transitions(observation, self._action, observation.roll(-1, 0), self._ended)

    def agent_transitions(self, rollout: Rollout) -> Transitions:
        """A rollout, tick after tick, of all environments."""
        following = torch.cat([rollout.raw[1:], rollout.last[None]])
        where, cut_raw = rollout.cut
        following[where[:, 0], where[:, 1]] = cut_raw
        return Transitions(
            rollout.observation.flatten(0, 1),
            rollout.action.flatten(0, 1),
            self.ppo.normalise(following).flatten(0, 1),
            rollout.terminated.flatten(),
        )
