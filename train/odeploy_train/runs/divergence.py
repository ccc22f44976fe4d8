"""Whether a training is made of numbers; what is not stops it by its name.

What is not finite in a simulation reaches a policy's weights within one update, and a normaliser for good. So it
is looked for before either learns from the rollout, and in the figures of every update, while the last checkpoint
is whole.
"""

import math

from odeploy_runtime.errors import UsageError


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
