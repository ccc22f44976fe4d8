"""What on-policy methods learn from: a rollout as it was, and its rows as minibatches take them."""

from dataclasses import dataclass, fields

from torch import Tensor


@dataclass(frozen=True)
class Rows:
    """Rows of a rollout, M of them.

    Attributes:
        observation: normalised. Shape (M, O).
        action: as the actor gave it, before bounds. Shape (M, D).
        advantage: Shape (M,).
        target: of the value, A + V. Shape (M,).
        value: of the old critic. Shape (M,).
        remembered: what the actor keeps of its old self for ρ; each of shape (M, ...).
    """

    observation: Tensor
    action: Tensor
    advantage: Tensor
    target: Tensor
    value: Tensor
    remembered: dict[str, Tensor]

    def __len__(self) -> int:
        return len(self.action)

    def take(self, index: Tensor) -> "Rows":
        """Some of the rows."""
        return Rows(
            self.observation[index],
            self.action[index],
            self.advantage[index],
            self.target[index],
            self.value[index],
            {name: rows[index] for name, rows in self.remembered.items()},
        )

    def to(self, device: str) -> "Rows":
        """The same on another device."""
        own = {f.name: getattr(self, f.name).to(device) for f in fields(self) if f.name != "remembered"}
        return Rows(**own, remembered={name: rows.to(device) for name, rows in self.remembered.items()})


@dataclass(frozen=True)
class Rollout:
    """T ticks of N environments, as they were.

    Attributes:
        raw: observations in raw units. Shape (T, N, O).
        observation: the same, normalised. Shape (T, N, O).
        action: of the actor. Shape (T, N, D).
        reward: the environment's own, or what stands for it. Shape (T, N).
        terminated: 1 where the task ended the episode. Shape (T, N).
        over: 1 where it ended or was cut. Shape (T, N).
        last: raw observations after the rollout. Shape (N, O).
        cut: rows (t, i) that the horizon cut, and their raw last observations. Shapes (C, 2), (C, O).
        returns: of the episodes that ended in it. Shape (E,).
        successes: likewise.
    """

    raw: Tensor
    observation: Tensor
    action: Tensor
    reward: Tensor
    terminated: Tensor
    over: Tensor
    last: Tensor
    cut: tuple[Tensor, Tensor]
    returns: Tensor
    successes: Tensor
