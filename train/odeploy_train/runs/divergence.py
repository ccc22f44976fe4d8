"""Detection of a diverged training.

A number of the simulation that is not finite reaches a policy's weights within one update, and a normaliser for
good. So rollouts are checked before anything learns from them (`on_policy.rollout.require_finite`), and the
figures of every update before the next checkpoint.
"""

import math

from odeploy_runtime.errors import UsageError


def require_finite_figures(figures: dict[str, float], lr: float, step: int) -> None:
    """Refuse to continue after an update that has diverged.

    Args:
        figures: figures of the update, by name.
        lr: its learning rate.
        step: step of the training.

    Raises:
        UsageError: names the first figure that is not finite.
    """
    for name, value in figures.items():
        if not math.isfinite(value):
            raise UsageError(
                where=f"--lr {lr:g}, step {step}",
                expected="finite figures",
                got=f"{value} for {name}",
                remedy="train into another folder with a lower --lr; the last checkpoint of this one is intact",
            )
