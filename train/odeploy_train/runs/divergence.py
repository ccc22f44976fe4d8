"""Whether a training is made of numbers; what is not stops it by its name.

What is not finite in a simulation reaches a policy's weights within one update, and a normaliser for good. So it
is looked for before either learns from the rollout, and in the figures of every update, while the last checkpoint
is whole.
"""

import math

from odeploy_runtime.errors import ContractError, UsageError
from odeploy_train.on_policy.rollout import Rollout

_TENSORS = ("raw", "observation", "action", "reward", "last")


def require_finite(rollout: Rollout, step: int) -> None:
    """Refuses a rollout with anything in it that is not finite.

    Args:
        rollout: as collected.
        step: of the environments, for the message.

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
                remedy="look into the task or lower --lr; the same command continues from the last checkpoint",
            )


def require_finite_figures(figures: dict[str, float], lr: float, step: int) -> None:
    """Refuses to go on from an update that has diverged.

    Args:
        figures: of the update, by name.
        lr: that made it.
        step: of the training.

    Raises:
        UsageError: names the first figure that is not finite.
    """
    for name, value in figures.items():
        if not math.isfinite(value):
            raise UsageError(
                where=f"--lr {lr:g}, step {step}",
                expected="finite figures",
                got=f"{value} for {name}",
                remedy="train into another folder with a lower --lr; the last checkpoint of this one is whole",
            )
