"""Checks of dead inputs, and of actions that no signal changes.

Each signal in turn gets the values that it had at other ticks. They stay within its recorded range, and how far
the actions move measures how much the policy depends on the signal.
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
    """Response of each action to one signal with values of other ticks, on unit scale.

    Attributes:
        mean: over the rows. Shape (A, O).
        largest: over the rows. Shape (A, O).
        varies: whether the signal had more than one value. Shape (O,).
    """

    mean: NDArray[np.float64]
    largest: NDArray[np.float64]
    varies: NDArray[np.bool_]


def sensitivity(policy: Policy, observations: NDArray[np.float32]) -> Sensitivity:
    """Measure the sensitivity on recorded observations, shape (M, O)."""
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
    """Find dead inputs, and a policy that is nearly constant.

    Args:
        sensed: sensitivity on recorded observations.
        signals: observation signals.
        ticks: number of those observations.
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
        remedy = "check that trained weights were exported, and the normaliser with them"
        findings.append(Finding("warning", "nearly constant", "all signals", seen, remedy))
        return findings
    dead = [s.name for s, v, m in zip(signals, sensed.varies, largest, strict=True) if v and m < _DEAD]
    if dead:
        seen = (
            f"taking the values of other ticks changes no action by {_DEAD:g} of half its range, in {ticks} ticks"
        )
        remedy = "check whether training had these signals, and whether the whole observation reaches the policy"
        findings.append(Finding("warning", "dead input", some(dead), seen, remedy))
    return findings
