"""Tasks as TOML files, which `odeploy tasks new` writes and a user edits.

name = "reacher"
gym = "Reacher-v5"              # or a table [mjcf], see `mjcf.table`; without both the task has signals alone,
                                # which is enough to export and to serve
rate_hz = 50
horizon = 50

[[observation]]                 # by default those that the environment tells
name = "joint0_angle"
unit = "rad"
low = -3.2                      # omit an absent limit
high = 3.2

[[action]]
name = "joint0_torque"
unit = "N·m"
low = -1
high = 1
"""

import dataclasses
import difflib
import json
import tomllib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, get_args, get_type_hints

from odeploy_runtime.errors import FormatError, MissingError
from odeploy_runtime.signals import Signal
from odeploy_runtime.typed_json import decode
from odeploy_sim.mjcf.table import Mjcf
from odeploy_sim.mjcf.task import task as mjcf_task
from odeploy_sim.own_tasks import gym_task
from odeploy_sim.own_tasks.signals_of_spaces import is_made_up
from odeploy_sim.tasks.task import Task


@dataclass(frozen=True)
class TaskFile:
    """The fields of a task file; an omitted one is taken from the environment.

    Attributes:
        name: name of the task.
        gym: gymnasium id, with the package that registers it: `ID` or `PACKAGE:ID`.
        mjcf: a MuJoCo model, with what is observed, commanded and rewarded.
        rate_hz: control rate.
        horizon: ticks of an episode.
        observation: signals of the observation, in order.
        action: signals of the action, in order, each with limits.
        safe_action: command when there is nothing better.
        success_key: key of success in `info`.
        summary: one line of description.
        camera: camera of films.
        make_arguments: keyword arguments of the environment.
    """

    name: str
    gym: str | None = None
    mjcf: Mjcf | None = None
    rate_hz: float | None = None
    horizon: int | None = None
    observation: tuple[Signal, ...] | None = None
    action: tuple[Signal, ...] | None = None
    safe_action: tuple[float, ...] | None = None
    success_key: str | None = None
    summary: str | None = None
    camera: str | None = None
    make_arguments: dict[str, Any] = field(default_factory=dict)


def task(path: Path) -> Task:
    """Read a task file.

    Raises:
        MissingError: no such file.
        FormatError: not TOML, an unknown or a missing field, or one of the wrong type.
        ContractError: facts that contradict each other.
    """
    read = _read(path)
    facts = {
        name: value
        for name, value in vars(read).items()
        if value not in (None, {}) and name not in ("gym", "mjcf")
    }
    reference = str(path.resolve())
    if read.gym is not None and read.mjcf is not None:
        raise FormatError(
            where=f"{path} at gym", expected="one environment", got="gym and mjcf", remedy="leave one of them out"
        )
    if read.mjcf is not None:
        table = replace(read.mjcf, model=str(path.resolve().parent / read.mjcf.model))
        return mjcf_task(table, path, facts | {"reference": reference})
    if read.gym is not None:
        return gym_task.task(f"gym:{read.gym}", **(facts | {"reference": reference}))
    missing = next((name for name in ("rate_hz", "horizon", "observation", "action") if name not in facts), None)
    if missing is not None:
        raise FormatError(
            where=f"{path} at {missing}",
            expected="a value, as the file names no environment",
            got="none",
            remedy="add it, or name an environment: gym = ID, or a table [mjcf]",
        )
    return Task(**facts, reference=reference)


def text(made: Task, gym: str | None) -> str:
    """Return a task as the text of a task file; made-up names are marked."""
    facts: dict[str, Any] = {"name": made.name, "gym": gym, "rate_hz": made.rate_hz, "horizon": made.horizon}
    facts |= {"safe_action": list(made.safe_action), "success_key": made.success_key, "summary": made.summary}
    lines = [f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in facts.items() if value]
    for side in ("observation", "action"):
        for signal in getattr(made, side):
            comment = "            # made up: name it" if is_made_up(signal.name) else ""
            fields = {name: value for name, value in dataclasses.asdict(signal).items() if value is not None}
            lines += ["", f"[[{side}]]"]
            lines += [
                f"{name} = {json.dumps(value, ensure_ascii=False)}{comment if name == 'name' else ''}"
                for name, value in fields.items()
            ]
    return "\n".join(lines) + "\n"


def _read(path: Path) -> TaskFile:
    try:
        data = tomllib.loads(path.read_text())
    except OSError as error:
        raise MissingError(
            where=str(path), expected="a task file", got=error.strerror or "none", remedy="correct the path"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise FormatError(where=str(path), expected="TOML", got=str(error), remedy="fix this line") from None
    require_known_fields(path, "the top", data, TaskFile)
    return decode(TaskFile, data, str(path))


def require_known_fields(path: Path, place: str, table: Any, kind: type) -> None:
    """Raise a FormatError if a table, or one inside it, has an unknown field."""
    if not isinstance(table, dict):
        return  # decoding reports it
    known = get_type_hints(kind)
    for word, value in table.items():
        if word not in known:
            near = difflib.get_close_matches(word, known, n=1, cutoff=0.4) or [", ".join(known)]
            raise FormatError(
                where=f"{path} at {place}",
                expected=f"a known field such as {near[0]}",
                got=word,
                remedy="fix this word",
            )
        inside = _dataclass_in(known[word])
        if inside is None:
            continue
        here = word if place == "the top" else f"{place}.{word}"
        if isinstance(value, list):
            for index, part in enumerate(value):
                require_known_fields(path, f"{here}[{index}]", part, inside)
        else:
            require_known_fields(path, here, value, inside)


def _dataclass_in(hint: Any) -> type | None:
    """Return the dataclass in a type such as `tuple[Signal, ...]` or `Mjcf | None`."""
    if dataclasses.is_dataclass(hint):
        return hint if isinstance(hint, type) else None
    return next((found for part in get_args(hint) if (found := _dataclass_in(part)) is not None), None)
