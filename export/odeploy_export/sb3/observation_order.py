"""Order of a flat observation that another library concatenated from a dictionary.

gymnasium's FlattenObservation sorts the keys; a task has an order of its own. The sizes agree, so only the user
can say which one a network was trained on.
"""

from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any

import numpy as np
from numpy.typing import NDArray

from odeploy_runtime.errors import ContractError, UsageError
from odeploy_sim.tasks.env import TaskEnv
from odeploy_sim.tasks.seeds import PROBES
from odeploy_sim.tasks.task import Task

_TICKS = 50
_OPTION = "--observation-order"


def required_order(task: Task, order: str | None, where: str) -> tuple[str, ...] | None:
    """Return the keys in the order of training; None for a task without a dictionary.

    Args:
        task: task that the policy was trained on.
        order: `task`, `sorted`, or the keys separated by commas; None if not given.
        where: for messages.

    Raises:
        UsageError: it is not given although the task has a dictionary, or names other keys.
    """
    keys = task.observation_keys
    if len(keys) < 2:
        if order not in (None, "task"):
            raise UsageError(
                where=f"{_OPTION} {order}",
                expected=f"no option, since {task.name} has no dictionary observation",
                got="an order",
                remedy="leave the option out",
            )
        return None
    inside, ordered = ", ".join(keys), tuple(sorted(keys))
    if order is None and keys != ordered:
        raise UsageError(
            where=where,
            expected=f"{_OPTION} task or sorted: {task.name} concatenates {inside}, FlattenObservation "
            f"{', '.join(ordered)}",
            got="a flat observation, in either order",
            remedy=f"give {_OPTION} sorted if it was trained behind FlattenObservation, task if on FlatEnv",
        )
    if order is None or order == "task":
        return keys
    named = ordered if order == "sorted" else tuple(order.split(","))
    if sorted(named) != sorted(keys):
        raise UsageError(
            where=f"{_OPTION} {order}",
            expected=f"task, sorted, or the keys {inside} in some order",
            got=", ".join(named),
            remedy="name each key once, separated by commas",
        )
    return named


def places_of_keys(task: Task, keys: Sequence[str]) -> tuple[int, ...]:
    """Return the place of each number of some keys in the task's flat observation.

    A key that the task leaves out, such as `achieved_goal`, is found by its values: a number that equals one of
    the observation's at every tick of an episode is that signal.

    Raises:
        ContractError: a key that the environment lacks, or a number that is no signal of the task.
    """
    raw, flat = _played(task)
    starts, start = dict[str, int](), 0
    for key in task.observation_keys:
        starts[key], start = start, start + raw[key].shape[1]
    places: list[int] = []
    for key in keys:
        if key not in raw:
            raise ContractError(
                where=f"task {task.name}, observation {key}",
                expected=f"one of {', '.join(raw)}",
                got="none",
                remedy="give --task the task that the model was trained on",
            )
        for i, column in enumerate(raw[key].T):
            if key in starts:
                places.append(starts[key] + i)
                continue
            same = np.flatnonzero((flat == column[:, None]).all(axis=0))
            if not len(same):
                raise ContractError(
                    where=f"task {task.name}, observation {key}[{i}]",
                    expected="a signal of the task with the same values",
                    got="none in an episode",
                    remedy="train without this key, or on odeploy_sim.tasks.gym_env.FlatEnv",
                )
            places.append(int(same[0]))
    return tuple(places)


def _played(task: Task) -> tuple[dict[str, NDArray[Any]], NDArray[np.float32]]:
    """Return the dictionary's arrays and the flat observation of random ticks.

    Shapes (M, size of the key) by key, and (M, O).
    """
    rng, raws, flats = np.random.default_rng(0), list[Mapping[str, Any]](), list[NDArray[np.float32]]()
    low, high = (np.array([getattr(s, side) for s in task.action], np.float32) for side in ("low", "high"))
    with closing(TaskEnv(task)) as env:
        flats.append(env.reset(PROBES.seed()).copy())
        raws.append({key: np.array(value, np.float32) for key, value in env.raw.items()})
        for _ in range(_TICKS):
            step = env.step(rng.uniform(low, high).astype(np.float32))
            flats.append(step.observation.copy())
            raws.append({key: np.array(value, np.float32) for key, value in env.raw.items()})
            if step.done:
                break
    keys = raws[0].keys()
    return {key: np.stack([np.atleast_1d(raw[key]) for raw in raws]) for key in keys}, np.stack(flats)
