"""`--actuation FILE.toml`: what is beside the motors of the robot that a policy was trained on.

rate_hz = 500
interpolation = "linear"    # or "hold"

[pd]                        # none where setpoints are what the motors get
p_gains_nm_rad = [400, 100]
d_gains_nms_rad = [22, 3]
default_pose_rad = [0, 1.6]
torque_limits_nm = [40, 15]
"""

from pathlib import Path

from odeploy_export.toml_option import from_toml
from odeploy_runtime.policy_file.actuation import Actuation
from odeploy_sim.tasks.task import Task


def actuation_for(task: Task, file: Path | None) -> Actuation | None:
    """What the file says; without one, what the task's own robot has, if any. Raises as `from_toml` does."""
    if file is None:
        own: Actuation | None = task.make_arguments.get("actuation")
        return own
    what = f"an actuation that fits {task.name}"
    return from_toml(
        Actuation, file, "--actuation", what, {}, lambda read: read.fit(len(task.action), task.rate_hz)
    )
