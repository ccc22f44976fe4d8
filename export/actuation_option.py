"""`--actuation FILE.toml`: what is beside the motors of the robot that a policy was trained on.

rate_hz = 500
interpolation = "linear"    # or "hold"

[pd]                        # none where setpoints are what the motors get
p_gains_nm_rad = [400, 100]
d_gains_nms_rad = [22, 3]
default_pose_rad = [0, 1.6]
torque_limits_nm = [40, 15]
"""

import tomllib
from pathlib import Path

from runtime.actuation import Actuation
from runtime.errors import FormatError, MissingError
from runtime.typed_json import decode
from sim_bridge.task import Task


def actuation_for(task: Task, file: Path | None) -> Actuation | None:
    """What the file says; without one, what the task's own robot has, if it has any.

    Raises:
        MissingError: no such file.
        FormatError: not TOML, a field of the wrong type, or numbers that do not fit the task.
    """
    if file is None:
        own: Actuation | None = task.make_arguments.get("actuation")
        return own
    try:
        actuation = decode(Actuation, tomllib.loads(file.read_text()), str(file))
        actuation.fit(len(task.action), task.rate_hz)
    except OSError as error:
        raise MissingError(
            where=f"--actuation {file}",
            expected="a TOML file",
            got=error.strerror or type(error).__name__,
            remedy="see docs/policy-file.md for what is in one",
        ) from None
    except ValueError as error:  # of the parser too
        raise FormatError(
            where=f"--actuation {file}",
            expected=f"TOML of an actuation that fits {task.name}",
            got=str(error),
            remedy="mend what is named",
        ) from None
    return actuation
