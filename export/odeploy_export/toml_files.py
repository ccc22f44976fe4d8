"""Options of `odeploy export` that are TOML files: `--actuation` and `--recipe`.

`--actuation FILE.toml` describes the low-level control of the robot that the policy was trained on:

rate_hz = 500
interpolation = "linear"    # or "hold"

[pd]                        # omit it if the motors take setpoints
p_gains_nm_rad = [400, 100]
d_gains_nms_rad = [22, 3]
default_pose_rad = [0, 1.6]
torque_limits_nm = [40, 15]

`--recipe FILE.toml` describes how the observation is computed from the robot's raw signals:

command = ["goal_x", "goal_y"]      # raw signals that the operator sets; default: none

[[terms]]                           # in the policy's order
of = "signals"
names = ["ball_x", "ball_y"]        # or patterns such as "*_angle"
scale = 0.25                        # scale · value + offset; default: 1 and 0
offset = { "ball_x" = 0.5, "*" = 0 }    # one number, a list, or a table of patterns
ages = [2, 1, 0]                    # in ticks, oldest first; default: [0]

[[terms]]
of = "action"                       # previous action; "raw_action": the network's own previous output

[[terms]]
of = "phase"
period_s = 0.5
start = 0.5                         # share of the period at which the episode starts; default: 0
parts = ["cos"]                     # default: ["sin", "cos"]

[output]                            # command = scale · network's output + offset; default: 1 and 0
scale = 0.25
"""

import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from odeploy_export.graphs.action_output import Output
from odeploy_runtime.errors import FormatError, MissingError
from odeploy_runtime.policy_file.actuation import Actuation
from odeploy_runtime.policy_file.preparation import Preparation
from odeploy_runtime.policy_file.recipe import Recipe, Term
from odeploy_runtime.regular_file import TEXT_BYTES, read_regular
from odeploy_runtime.typed_json import decode
from odeploy_sim.mjcf.names import per_joint
from odeploy_sim.own_tasks.toml_task import require_known_fields
from odeploy_sim.tasks.task import Task

T = TypeVar("T")


@dataclass(frozen=True)
class _TermTable:
    """A term as written in a file.

    `names` may have patterns, and `offset` is one number, a list or a table.
    """

    of: Literal["signals", "action", "raw_action", "phase"]
    names: tuple[str, ...] = ()
    ages: tuple[int, ...] = (0,)
    period_s: float = 0.0
    scale: float | None = None
    offset: Any = None
    start: float | None = None
    parts: tuple[Literal["sin", "cos"], ...] | None = None


@dataclass(frozen=True)
class _OutputTable:
    """How the network's output becomes a command; both as `offset` of a term."""

    scale: Any = None
    offset: Any = None


@dataclass(frozen=True)
class _RecipeFile:
    """Contents of a recipe's file."""

    terms: tuple[_TermTable, ...]
    command: tuple[str, ...] = ()
    output: _OutputTable = _OutputTable()


def actuation_for(task: Task, file: Path | None) -> Actuation | None:
    """Read an actuation; without a file, return that of the task's own robot.

    Raises as `from_toml`.
    """
    if file is None:
        own: Actuation | None = task.make_arguments.get("actuation")
        return own
    what = f"an actuation that fits {task.name}"
    return from_toml(Actuation, file, "--actuation", what, lambda read: read.fit(len(task.action), task.rate_hz))


def recipe_for(task: Task, file: Path) -> Recipe:
    """Read a recipe over the task's signals. Raises as `from_toml`."""
    made: list[Recipe] = []

    def make(read: _RecipeFile) -> None:
        terms = (_term(table, task, f"--recipe {file} at terms[{i}]") for i, table in enumerate(read.terms))
        made.append(Recipe(task.observation, tuple(terms), read.command))
        made[0].observation(task.action)

    from_toml(_RecipeFile, file, "--recipe", f"a recipe over the signals of {task.name}", make)
    return made[0]


def output_for(task: Task, file: Path) -> Output:
    """Read how the network's output becomes the task's action.

    The table is part of a recipe's file. Raises as `from_toml`.
    """
    table = from_toml(_RecipeFile, file, "--recipe", "a recipe", lambda _: None).output
    where, names = f"--recipe {file} at output", task.action_names
    numbers = {
        field: None if value is None else per_joint(value, names, f"{where}.{field}")
        for field, value in vars(table).items()
    }
    return Output(numbers["scale"], numbers["offset"])


def _term(table: _TermTable, task: Task, where: str) -> Term:
    known = task.observation_names
    names = [
        name for pattern in table.names for name in [n for n in known if fnmatchcase(n, pattern)] or [pattern]
    ]
    numbers = {"signals": names, "phase": table.parts or ("sin", "cos")}.get(table.of, task.action_names)
    offset = None if table.offset is None else per_joint(table.offset, numbers, f"{where}.offset")
    return Term(**(vars(table) | {"names": tuple(names), "offset": offset}))


def prepared(recipe: Recipe, task: Task, recorded: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return recorded ticks as the policy observes them. Shapes (M, R) -> (M, O).

    Previous actions are zeros, since the policy's own were not recorded.
    """
    preparation = Preparation(recipe, len(task.action), task.rate_hz)
    return np.stack([preparation.observe(0, seq, raw).copy() for seq, raw in enumerate(recorded)])


def from_toml(kind: type[T], file: Path, option: str, what: str, check: Callable[[T], None]) -> T:
    """Read a dataclass.

    Args:
        kind: dataclass.
        file: TOML with its fields.
        option: command-line option, for messages.
        what: description, for messages.
        check: raises a ValueError if the numbers do not fit the task.

    Raises:
        MissingError: no such file.
        FormatError: not TOML, an unknown field or one of the wrong type, or numbers that do not fit.
    """
    try:
        data = tomllib.loads(read_regular(file, TEXT_BYTES).decode())
        require_known_fields(file, "the top", data, kind)
        read = decode(kind, data, str(file))
        check(read)
    except OSError as error:
        raise MissingError(
            where=f"{option} {file}",
            expected="a TOML file",
            got=error.strerror or type(error).__name__,
            remedy="see docs/reference/policy-file.md for its contents",
        ) from None
    except ValueError as error:  # the parser's errors too
        raise FormatError(
            where=f"{option} {file}", expected=f"TOML of {what}", got=str(error), remedy="fix the named field"
        ) from None
    return read
