"""An arm whose servos run faster than the policy."""

from odeploy_runtime.signals import Signal
from odeploy_sim.catalogue.signal_names import angles, angular_velocities
from odeploy_sim.environments.arm_track import RANGE_RAD, SERVO
from odeploy_sim.tasks.task import Task

_JOINTS = "shoulder", "elbow"

ARM_TRACK = Task(
    name="arm-track",
    gym_id="odeploy/ArmTrack-v0",
    entry_point="odeploy_sim.environments.arm_track:ArmTrackEnv",
    summary="the tip of a two-link arm follows a point on a circle; joint positions at 25 Hz, PD at 500 Hz",
    observation=(
        *angles(_JOINTS),
        *angular_velocities(_JOINTS),
        Signal("target_x", "m"),
        Signal("target_y", "m"),
    ),
    action=tuple(Signal(f"{joint}_setpoint", "rad", -RANGE_RAD, RANGE_RAD) for joint in _JOINTS),
    rate_hz=25.0,
    physics_step_s=0.002,
    horizon=100,
    safe_action=(0.0, 0.0),
    success_key="success",
    make_arguments={"actuation": SERVO},
    paper="none: ours",
    differs="made to tell a policy's rate from its actuator's",
    camera="above",
)
