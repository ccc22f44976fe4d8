"""Checks of actions at their limits, and of answers far from the data."""

import numpy as np
from numpy.typing import NDArray

from odeploy_runtime.inference.policy import Policy
from odeploy_runtime.signals import Signal, half_ranges, highs, lows
from odeploy_sim.doctor.answers import answers
from odeploy_sim.doctor.findings import Finding, some

_SATURATED = 0.95  # share of ticks; trained bang-bang experts keep one joint there for two thirds of them
_FAR = 1e6
_AT_LIMIT = 1e-6  # of half a range
_TANH_1 = np.tanh(1.0)


def check_saturation(policy: Policy, observations: NDArray[np.float32]) -> list[Finding]:
    """Find actions that are at a limit for nearly all observations, shape (M, O)."""
    signals = policy.manifest.action
    actions, slack = answers(policy, observations), _AT_LIMIT * half_ranges(signals)
    at_limit = np.logical_or(actions <= lows(signals) + slack, actions >= highs(signals) - slack)
    findings = []
    for signal, share in zip(signals, at_limit.mean(axis=0), strict=True):
        if share >= _SATURATED:
            seen = f"at a limit in {share:.0%} of {len(actions)} recorded ticks"
            remedy = "check the normaliser and the scale of the action, unless the policy is bang-bang by design"
            findings.append(Finding("warning", "saturation", signal.name, seen, remedy))
    return findings


def check_extremes(policy: Policy, observations: NDArray[np.float32]) -> list[Finding]:
    """Check what must hold for any observation: a finite action, within its limits.

    Args:
        policy: the file.
        observations: recorded ones, from which single signals, and all at once, are moved far away. Shape (M, O).
    """
    rows, causes = _far_rows(observations, policy.manifest.observation)
    tried = np.concatenate([observations, rows])
    actions = answers(policy, tried)
    causes = ["a recorded observation"] * len(observations) + causes
    findings = _check_finite(actions, causes, policy.manifest.action)
    findings += _check_limits(actions, causes, policy.manifest.action)
    return findings + _check_reach(actions, policy.manifest.action)


def check_not_numbers(policy: Policy, observation: NDArray[np.float32]) -> list[Finding]:
    """Note what NaN and infinity in one signal become, which the server rejects.

    Shape (O,).
    """
    names, rows = [s.name for s in policy.manifest.observation], []
    for value in (np.nan, np.inf, -np.inf):
        block = np.tile(observation, (len(names), 1))
        np.fill_diagonal(block, value)
        rows.append(block)
    bad = ~np.isfinite(answers(policy, np.concatenate(rows)).sum(axis=1))
    from_nan, from_infinity = bad[: len(names)], np.any(bad[len(names) :].reshape(2, -1), axis=0)
    if not (from_nan | from_infinity).any():
        return []
    seen = (
        f"NaN in {from_nan.sum()} of {len(names)} signals, and an infinity in {from_infinity.sum()}, "
        "make an action that is not finite"
    )
    remedy = "nothing if odeploy serves it, which rejects such observations; else test for them"
    where = some([n for n, nan, inf in zip(names, from_nan, from_infinity, strict=True) if nan or inf])
    return [Finding("note", "not a number", where, seen, remedy)]


def _far_rows(
    observations: NDArray[np.float32], signals: tuple[Signal, ...]
) -> tuple[NDArray[np.float32], list[str]]:
    """Return rows with one signal, or all, beyond the recorded ones; and their names."""
    mean, std = observations.mean(axis=0), observations.std(axis=0)
    rows, causes = [], []
    for sign in (-1, 1):
        for size, distance in (
            (10 * std, "10 standard deviations off"),
            (np.full_like(std, _FAR), f"{_FAR:g} off"),
        ):
            far = mean + sign * size
            rows.append(far)
            causes.append(f"all signals {'+' if sign > 0 else '-'}{distance}")
            for j, signal in enumerate(signals):
                row = observations[j % len(observations)].copy()
                row[j] = far[j]
                rows.append(row)
                causes.append(f"{signal.name} = {far[j]:.3g}")
    return np.array(rows, np.float32), causes


def _check_finite(actions: NDArray[np.float64], causes: list[str], signals: tuple[Signal, ...]) -> list[Finding]:
    bad = ~np.isfinite(actions)
    if not bad.any():
        return []
    names = [s.name for s, any_bad in zip(signals, np.any(bad, axis=0), strict=True) if any_bad]
    rows = np.flatnonzero(np.any(bad, axis=1))
    seen = f"not finite for {len(rows)} of {len(actions)} finite observations, first at {causes[rows[0]]}"
    remedy = "look for NaN among the weights (odeploy diff with a good file), then export a sound checkpoint"
    return [Finding("error", "not finite", some(names), seen, remedy)]


def _check_limits(actions: NDArray[np.float64], causes: list[str], signals: tuple[Signal, ...]) -> list[Finding]:
    scale, findings = half_ranges(signals), []
    beyond = np.maximum(actions - highs(signals), lows(signals) - actions)
    for i, signal in enumerate(signals):
        worst = int(np.argmax(np.nan_to_num(beyond[:, i], nan=-np.inf)))
        if beyond[worst, i] > _AT_LIMIT * scale[i]:
            seen = f"{actions[worst, i]:.4g} outside [{signal.low}, {signal.high}] at {causes[worst]}"
            remedy = "export with the bounds inside the graph; the guard would clamp this, then go SAFE"
            findings.append(Finding("error", "beyond limits", signal.name, seen, remedy))
    return findings


def _check_reach(actions: NDArray[np.float64], signals: tuple[Signal, ...]) -> list[Finding]:
    """Find a squash that is applied twice.

    tanh of tanh reaches tanh(1) of the range and no more.
    """
    low, high = lows(signals).astype(np.float64), highs(signals).astype(np.float64)
    if not (np.isfinite(low) & np.isfinite(high)).all() or not np.isfinite(actions).all():
        return []
    reach = np.abs((actions - (low + high) / 2) / half_ranges(signals)).max(axis=0)
    if not np.allclose(reach, _TANH_1, rtol=0, atol=1e-3):
        return []
    seen = f"no input moves an action beyond {reach.max():.4f} of half its range, which is tanh(1)"
    remedy = "squash once: in the policy or in the graph, not in both"
    return [Finding("error", "tanh twice", some([s.name for s in signals]), seen, remedy)]
