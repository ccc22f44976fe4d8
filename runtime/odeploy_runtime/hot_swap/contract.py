"""What a policy must share with the served one, for robots to continue.

Names, task, rate and horizon always. All else that moves a robot too, unless the operator names it as allowed.
"""

from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from odeploy_runtime.errors import ContractError, UsageError
from odeploy_runtime.policy_file.actuation import Actuation
from odeploy_runtime.policy_file.manifest import Manifest
from odeploy_runtime.policy_file.recipe import Recipe, Term
from odeploy_runtime.signals import Signal, require_same_names

ALLOWABLE = ("units", "limits", "semantics", "actuation", "command", "recipe")
"""Words for the differences that an operator may allow."""
_SHOWN = 100


class Difference(NamedTuple):
    """One difference that moves a robot: its word, its place, and both values."""

    word: str
    place: str
    serving: str
    other: str


def require_same_robot(serving: Manifest, other: Manifest, where: str) -> None:
    """Refuse a policy that does not answer the served policy's robots.

    Raises:
        ContractError: another task, rate or horizon, or other signals.
    """
    for field in ("task", "rate_hz", "horizon"):
        expected, got = getattr(serving, field), getattr(other, field)
        if expected != got:
            raise ContractError(
                where=f"{where}, {field}",
                expected=f"{expected} as of the served policy",
                got=str(got),
                remedy="serve this file from a server of its own",
            )
    require_same_names(serving.raw_names, other.raw_names, f"{where}, observation")
    require_same_names(serving.action_names, other.action_names, f"{where}, action")


def require_same_contract(serving: Manifest, other: Manifest, where: str, allowed: Collection[str] = ()) -> None:
    """Refuse a policy with which connected robots would move differently.

    Args:
        serving: manifest of the served policy.
        other: manifest of the policy to serve.
        where: path of its file.
        allowed: words of `ALLOWABLE` for differences that the operator accepts.

    Raises:
        ContractError: the first difference that is not allowed.
    """
    require_same_robot(serving, other, where)
    for difference in differences(serving, other):
        if difference.word not in allowed:
            raise ContractError(
                where=f"{where}, {difference.place}",
                expected=f"{_short(difference.serving)} as of the served policy",
                got=_short(difference.other),
                remedy=f"serve it from a server of its own, or swap with --allow {difference.word}",
            )


def differences(serving: Manifest, other: Manifest) -> Iterator[Difference]:
    """Yield what moves a robot and differs, of two policies for the same robot."""
    pairs = [*zip(serving.raw, other.raw, strict=True), *zip(serving.action, other.action, strict=True)]
    for a, b in pairs:
        yield from _different("units", f"unit of {a.name}", a.unit, b.unit)
    for a, b in zip(serving.action, other.action, strict=True):
        yield from _different("limits", f"limits of {a.name}", _limits(a), _limits(b))
    yield from _different("semantics", "action_semantics", serving.action_semantics, other.action_semantics)
    for field, a_text, b_text in zip(
        ("actuation", *_ACTUATION), _actuation(serving.actuation), _actuation(other.actuation), strict=True
    ):
        yield from _different("actuation", field, a_text, b_text)
    command, terms = zip(_recipe(serving.recipe), _recipe(other.recipe), strict=True)
    yield from _different("command", "signals from the operator", *command)
    yield from _different("recipe", "recipe", *terms)


def require_allowable(words: Sequence[str]) -> None:
    """Raise a UsageError for a word that allows nothing."""
    unknown = [word for word in words if word not in ALLOWABLE]
    if unknown:
        raise UsageError(
            where="--allow",
            expected=f"some of {','.join(ALLOWABLE)}, separated by commas",
            got=_short(unknown[0]) or "an empty word",
            remedy="name what may differ from the served policy",
        )


_ACTUATION = ("interpolation", "p_gains_nm_rad", "d_gains_nms_rad", "default_pose_rad", "torque_limits_nm")


def _limits(signal: Signal) -> str:
    low, high = ("none" if limit is None else repr(limit) for limit in (signal.low, signal.high))
    return f"{low} to {high}" + ("" if signal.max_step is None else f", {signal.max_step!r} a tick")


def _actuation(actuation: Actuation | None) -> list[str]:
    """Return what it is, then each of its fields but the rate."""
    if actuation is None:
        return ["the robot's own"] + [""] * len(_ACTUATION)
    pd = actuation.pd
    kind = f"{'setpoints' if pd is None else 'torques by a PD law'} at {actuation.rate_hz!r} Hz"
    law = [""] * 4 if pd is None else [", ".join(map(repr, getattr(pd, field))) for field in _ACTUATION[1:]]
    return [kind, actuation.interpolation, *law]


def _recipe(recipe: Recipe | None) -> tuple[str, str]:
    """Return the operator's signals, and the terms of the observation."""
    if recipe is None:
        return "none", "the robot's signals as they are"
    return ", ".join(recipe.command) or "none", "; ".join(map(_term, recipe.terms))


def _term(term: Term) -> str:
    text = f"{term.of} {' '.join(term.names)} of ages {term.ages}, period {term.period_s!r} s"
    optional = {name: getattr(term, name) for name in ("scale", "offset", "start", "parts")}
    return text + "".join(f", {name} {value!r}" for name, value in optional.items() if value is not None)


def _different(word: str, place: str, serving: str, other: str) -> Iterator[Difference]:
    if serving != other:
        yield Difference(word, place, serving, other)


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
