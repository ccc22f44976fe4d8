"""What the actions listen to: signals that change nothing, and actions that hardly depend on any signal.

A signal is given, tick for tick, the values that it had at other ticks. That stays within its recorded range,
and what it changes says how much the policy listens to it.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from odeploy_runtime.inference.policy import Policy
from odeploy_runtime.signals import Signal, half_ranges
from odeploy_sim.doctor.answers import answers
from odeploy_sim.doctor.findings import Finding, some

_DEAD = 1e-6  # of half a range; rounding alone reaches 1e-7
_HARDLY = 0.01


@dataclass(frozen=True)
class Sensitivity:
    """How far actions move when one signal takes the values of other ticks, on unit scale.

    Attributes:
        mean: over the rows. Shape (A, O).
        largest: over the rows. Shape (A, O).
        varies: whether the signal had more than one value at all. Shape (O,).
    """

    mean: NDArray[np.float64]
    largest: NDArray[np.float64]
    varies: NDArray[np.bool_]


def sensitivity(policy: Policy, observations: NDArray[np.float32]) -> Sensitivity:
    """Measures it on recorded observations of shape (M, O)."""
    rng, scale = np.random.default_rng(0), half_ranges(policy.manifest.action)
    usual = answers(policy, observations)
    changes = []
    for j in range(observations.shape[1]):
        shuffled = observations.copy()
        shuffled[:, j] = rng.permutation(observations[:, j])
        changes.append(np.abs(answers(policy, shuffled) - usual) / scale)
    moved = np.stack(changes, axis=-1)
    return Sensitivity(moved.mean(axis=0), moved.max(axis=0), np.ptp(observations, axis=0) > 0)


def check_sensitivity(sensed: Sensitivity, signals: tuple[Signal, ...], ticks: int) -> list[Finding]:
    """Dead inputs, and a policy that is nearly a constant.

    Args:
        sensed: on recorded observations.
        signals: of the observation.
        ticks: how many observations those were.
    """
    largest, findings = sensed.largest.max(axis=0), []
    if not np.isfinite(largest).all():  # another check names what is not finite
        return []
    constant = [s.name for s, varies in zip(signals, sensed.varies, strict=True) if not varies]
    if constant:
        seen = f"one and the same value in all {ticks} recorded ticks: whether it is used cannot be seen"
        findings.append(Finding("note", "dead input", some(constant), seen, "nothing"))
    if sensed.varies.any() and largest.max() < _HARDLY:
        most = f"{largest.max():.1e} of half its range"
        seen = f"within its recorded range no signal moves any action by more than {most}"
        remedy = "see that trained weights were exported, and the normaliser with them"
        findings.append(Finding("warning", "nearly constant", "all signals", seen, remedy))
        return findings
    dead = [s.name for s, v, m in zip(signals, sensed.varies, largest, strict=True) if v and m < _DEAD]
    if dead:
        seen = (
            f"taking the values of other ticks changes no action by {_DEAD:g} of half its range, in {ticks} ticks"
        )
        remedy = "see whether training had these signals, and whether the observation is wired in whole"
        findings.append(Finding("warning", "dead input", some(dead), seen, remedy))
    return findings
