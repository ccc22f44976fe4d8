"""Signals of an environment, from its spaces and its MuJoCo model, if any."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict
from numpy.typing import NDArray

from odeploy_runtime.errors import UsageError
from odeploy_runtime.signals import Signal
from odeploy_sim.mjcf.model_quantities import Quantities, Quantity
from odeploy_sim.tasks.env import physics_data

Pairs = list[tuple[NDArray[np.float64], NDArray[np.float64]]]

_MADE_UP = re.compile(r"(obs|action|.+)_at_\d+")
_EPISODES, _STEPS = 4, 3
_TOLERANCE = 1e-5  # of float32 observations


def is_made_up(name: str) -> bool:
    """Return whether a signal's name only tells its place, as `obs_at_7` does."""
    return _MADE_UP.fullmatch(name) is not None


def require_vectors(env: "gymnasium.Env[Any, Any]", where: str) -> None:
    """Check that observations are vectors, and actions limited vectors.

    Raises:
        UsageError: discrete or image spaces, or unlimited actions.
    """
    parts = (
        env.observation_space.spaces if isinstance(env.observation_space, Dict) else {"": env.observation_space}
    )
    for key, space in parts.items():
        if not isinstance(space, Box) or len(space.shape or ()) > 1:
            raise UsageError(
                where=f"{where}, observation{f' {key}' if key else ''}",
                expected="a Box of one dimension, or a Dict of such",
                got=str(space)[:100],
                remedy="discrete and image observations are not supported; flatten others with a wrapper",
            )
    action = env.action_space
    if not isinstance(action, Box) or len(action.shape) != 1:
        raise UsageError(
            where=f"{where}, action",
            expected="a Box of one dimension",
            got=str(action)[:100],
            remedy="discrete actions are not supported",
        )
    if not (np.isfinite(action.low).all() and np.isfinite(action.high).all()):
        raise UsageError(
            where=f"{where}, action",
            expected="limits for each action",
            got=f"{action.low.min():g} to {action.high.max():g}",
            remedy="wrap the environment in gymnasium.wrappers.RescaleAction, or bound its action space",
        )


def signals(env: "gymnasium.Env[Any, Any]") -> tuple[tuple[Signal, ...], tuple[Signal, ...]]:
    """Return the signals of observations and actions.

    A number is named after the quantity of the model that equals it in every sampled state. Those that equal none
    are named after their place, such as `obs_at_7`.
    """
    places, low, high = _places(env.observation_space)
    data, bounds = physics_data(env), cast(Box, env.action_space)
    seen: list[Quantity | None] = [None] * len(places)
    driven: list[Quantity | None] = [None] * bounds.low.size
    if data is not None:
        seen, driven = _matched(env, Quantities(data))
    observation = _signals(seen, places, low, high)
    places = [f"action_at_{i}" for i in range(len(driven))]
    return observation, _signals(driven, places, bounds.low, bounds.high)


def flat(raw: Any, keys: Sequence[str]) -> NDArray[np.float64]:
    """Return a raw observation as one vector; `keys` order a dictionary."""
    parts = [raw[key] for key in keys] if isinstance(raw, Mapping) else [raw]
    return np.concatenate([np.asarray(part, np.float64).ravel() for part in parts])


def _places(space: Any) -> tuple[list[str], NDArray[Any], NDArray[Any]]:
    """Return a name by its place, and the limits, for each number."""
    parts: dict[str, Any] = dict(space.spaces) if isinstance(space, Dict) else {"obs": space}
    names = [f"{key}_at_{i}" for key, part in parts.items() for i in range(part.low.size)]
    return (
        names,
        np.concatenate([part.low.ravel() for part in parts.values()]),
        np.concatenate([part.high.ravel() for part in parts.values()]),
    )


def _signals(
    found: Sequence[Quantity | None], places: Sequence[str], low: NDArray[Any], high: NDArray[Any]
) -> tuple[Signal, ...]:
    taken: set[str] = set()
    made = []
    for quantity, place, lowest, highest in zip(found, places, low, high, strict=True):
        name, unit = (place, "1") if quantity is None else (quantity.name, quantity.unit)
        if name in taken:  # a goal and an observation may have the same numbers
            name = f"{place.rpartition('_at_')[0]}_{name}"
        if name in taken:
            name = place
        taken.add(name)
        limits = [float(v) if math.isfinite(v) and abs(v) < 1e30 else None for v in (lowest, highest)]
        made.append(Signal(name, unit, *limits))
    return tuple(made)


def _matched(
    env: "gymnasium.Env[Any, Any]", quantities: Quantities
) -> tuple[list[Quantity | None], list[Quantity | None]]:
    """Play a few ticks; return the quantities that equal observations and actions."""
    observed: Pairs = []
    commanded: Pairs = []
    keys = tuple(env.observation_space) if isinstance(env.observation_space, Dict) else ()
    env.action_space.seed(0)
    for episode in range(_EPISODES):
        raw = env.reset(seed=episode)[0]
        observed.append((flat(raw, keys), quantities.values()))
        for _ in range(_STEPS):
            action = env.action_space.sample()
            raw, _, ended, cut, _ = env.step(action)
            observed.append((flat(raw, keys), quantities.values()))
            commanded.append((np.asarray(action, np.float64), quantities.controls()))
            if ended or cut:
                break
    return _equal(observed, quantities.all), _equal(commanded, quantities.actuators)


def _equal(pairs: Pairs, quantities: Sequence[Quantity]) -> list[Quantity | None]:
    """Return, for each number, the first quantity that equals it in all pairs.

    One that is not yet taken is preferred.

    A number that never changes equals nothing: by chance it could be anything that stands still. Where an
    environment clips a number, at its extremes, the quantity may lie beyond it.
    """
    numbers, values = np.stack([p[0] for p in pairs]), np.stack([p[1] for p in pairs])
    free = np.ones(values.shape[1], bool)
    found: list[Quantity | None] = []
    for number in numbers.T:
        near = np.abs(values - number[:, None]) <= _TOLERANCE * (1 + np.abs(number[:, None]))
        lowest, highest = number.min(), number.max()
        clipped = ((number == highest)[:, None] & (values > highest)) | (
            (number == lowest)[:, None] & (values < lowest)
        )
        equal = (near | clipped).all(0) & (near.mean(0) > 0.5) & bool(highest - lowest > 2 * _TOLERANCE)
        match = np.flatnonzero(equal & free if (equal & free).any() else equal)[:1]
        found.append(quantities[match[0]] if len(match) else None)
        free[match] = False
    return found
