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
names = ["ball_x", "ball_y"]
ages = [2, 1, 0]                    # in ticks, oldest first; default: [0]

[[terms]]
of = "action"                       # previous action

[[terms]]
of = "phase"
period_s = 0.5
"""

import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from odeploy_runtime.errors import FormatError, MissingError
from odeploy_runtime.policy_file.actuation import Actuation
from odeploy_runtime.policy_file.recipe import Preparation, Recipe
from odeploy_runtime.regular_file import TEXT_BYTES, read_regular
from odeploy_runtime.typed_json import decode, encode
from odeploy_sim.tasks.task import Task

T = TypeVar("T")


def actuation_for(task: Task, file: Path | None) -> Actuation | None:
    """Read an actuation; without a file, return that of the task's own robot.

    Raises as `from_toml`.
    """
    if file is None:
        own: Actuation | None = task.make_arguments.get("actuation")
        return own
    what = f"an actuation that fits {task.name}"
    return from_toml(
        Actuation, file, "--actuation", what, {}, lambda read: read.fit(len(task.action), task.rate_hz)
    )


def recipe_for(task: Task, file: Path) -> Recipe:
    """Read a recipe over the task's signals. Raises as `from_toml`."""
    own = {"raw": encode(task.observation)}
    what = f"a recipe over the signals of {task.name}"
    return from_toml(Recipe, file, "--recipe", what, own, lambda _: None)


def prepared(recipe: Recipe, task: Task, recorded: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return recorded ticks as the policy observes them. Shapes (M, R) -> (M, O).

    Previous actions are zeros, since the policy's own were not recorded.
    """
    preparation = Preparation(recipe, len(task.action), task.rate_hz)
    return np.stack([preparation.observe(0, seq, raw).copy() for seq, raw in enumerate(recorded)])


def from_toml(
    kind: type[T], file: Path, option: str, what: str, own: Mapping[str, Any], check: Callable[[T], None]
) -> T:
    """Read a dataclass.

    Args:
        kind: dataclass.
        file: TOML with its fields.
        option: command-line option, for messages.
        what: description, for messages.
        own: fields that are not in the file.
        check: raises a ValueError if the numbers do not fit the task.

    Raises:
        MissingError: no such file.
        FormatError: not TOML, a field of the wrong type, or numbers that do not fit.
    """
    try:
        read = decode(kind, tomllib.loads(read_regular(file, TEXT_BYTES).decode()) | dict(own), str(file))
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
