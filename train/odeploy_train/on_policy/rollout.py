"""Rollouts of on-policy methods, and their rows for minibatches."""

from dataclasses import dataclass, fields

from torch import Tensor

from odeploy_runtime.errors import ContractError

_TENSORS = ("raw", "observation", "action", "reward", "last")


@dataclass(frozen=True)
class Rows:
    """M rows of a rollout.

    Attributes:
        observation: normalised. Shape (M, O).
        action: output of the actor, before bounds. Shape (M, D).
        advantage: normalised over the rollout. Shape (M,).
        target: target of the value, A + V. Shape (M,).
        value: value by the old critic. Shape (M,).
        remembered: what the ratio ρ needs of the old policy; each of shape (M, ...).
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
        """Return some of the rows."""
        return Rows(
            self.observation[index],
            self.action[index],
            self.advantage[index],
            self.target[index],
            self.value[index],
            {name: rows[index] for name, rows in self.remembered.items()},
        )

    def to(self, device: str) -> "Rows":
        """Copy to another device."""
        own = {f.name: getattr(self, f.name).to(device) for f in fields(self) if f.name != "remembered"}
        return Rows(**own, remembered={name: rows.to(device) for name, rows in self.remembered.items()})


@dataclass(frozen=True)
class Rollout:
    """T ticks of N environments.

    Attributes:
        raw: observations in raw units. Shape (T, N, O).
        observation: the same, normalised. Shape (T, N, O).
        action: output of the actor. Shape (T, N, D).
        reward: reward of the environment. Shape (T, N).
        terminated: 1 where the task ended the episode. Shape (T, N).
        over: 1 where it ended or was truncated. Shape (T, N).
        valid: False where the simulation broke; not a tick to learn from. Shape (T, N).
        last: raw observations after the rollout. Shape (N, O).
        cut: rows (t, i) that the horizon truncated, and their raw last observations. Shapes (C, 2), (C, O).
        returns: returns of the episodes that ended. Shape (E,).
        successes: successes of the same episodes. Shape (E,).
    """

    raw: Tensor
    observation: Tensor
    action: Tensor
    reward: Tensor
    terminated: Tensor
    over: Tensor
    valid: Tensor
    last: Tensor
    cut: tuple[Tensor, Tensor]
    returns: Tensor
    successes: Tensor


def require_finite(rollout: Rollout, step: int) -> None:
    """Refuse a rollout with a number that is not finite.

    Args:
        rollout: as collected.
        step: environment step, for the message.

    Raises:
        ContractError: names the first such tensor, tick and environment.
    """
    for name in _TENSORS:
        bad = ~getattr(rollout, name).isfinite()
        if bad.any():
            index = bad.nonzero()[0].tolist()
            value = getattr(rollout, name)[tuple(index)].item()
            places = ("environment", "signal") if name == "last" else ("tick", "environment", "signal")
            at = ", ".join(f"{place} {i}" for place, i in zip(places, index, strict=False))
            raise ContractError(
                where=f"rollout that ends at step {step}: {name}, {at}",
                expected="a finite number",
                got=f"{value}",
                remedy="check the task or lower --lr; the same command continues from the last checkpoint",
            )
