"""A moving pose to follow: FPO's humanoid (arXiv 2507.21053), here in a plane.

The three tasks differ only in which points of the reference are observed.
"""

from odeploy_runtime.signals import Signal
from odeploy_sim.catalogue.signal_names import angles, angular_velocities
from odeploy_sim.environments.pose_track import RATES_RAD_S, TICK_S, TICKS, TOLD, Told
from odeploy_sim.tasks.task import Task

_ARM, _LEG = ("shoulder", "elbow"), ("hip", "knee", "ankle")
_SIDES = "left", "right"
_JOINTS = ("abdomen", *(f"{side}_{joint}" for limb in (_ARM, _LEG) for side in _SIDES for joint in limb))


def _goal(point: str) -> tuple[Signal, ...]:
    """Return signals of a reference point at the next tick.

    They are the offset from the robot's own point, and the velocity.
    """
    return (
        *(Signal(f"{point}_to_goal_{axis}", "m") for axis in "xz"),
        *(Signal(f"{point}_goal_velocity_{axis}", "m/s") for axis in "xz"),
    )


def _pose_track(name: str, told: Told, goals: str) -> Task:
    return Task(
        name=name,
        gym_id="odeploy/PoseTrack-v0",
        entry_point="odeploy_sim.environments.pose_track:PoseTrackEnv",
        make_arguments={"told": told},
        summary=f"a person in a plane follows a moving pose and observes {goals}",
        observation=(
            Signal("root_x_position", "m"),
            Signal("root_z_position", "m"),
            *angles(("root_pitch", *_JOINTS)),
            Signal("root_x_velocity", "m/s"),
            Signal("root_z_velocity", "m/s"),
            *angular_velocities(("root_pitch", *_JOINTS)),
            *(Signal(f"{joint}_setpoint", "rad") for joint in _JOINTS),
            Signal("root_pitch_to_goal", "rad"),
            Signal("root_pitch_goal_velocity", "rad/s"),
            *(signal for point in TOLD[told] for signal in _goal(point)),
        ),
        action=tuple(
            Signal(f"{joint}_setpoint_velocity", "rad/s", -float(rate), float(rate))
            for joint, rate in zip(_JOINTS, RATES_RAD_S, strict=True)
        ),
        rate_hz=1 / TICK_S,
        physics_step_s=0.01,
        horizon=TICKS,
        safe_action=(0.0,) * len(_JOINTS),
        success_key="success",
        paper=f"FPO: humanoid tracking, {goals}",
        differs="a person of 11 joints in a plane, not a humanoid in space; drawn motions, not motion capture; "
        "success is a mean distance that stays below 0.12 m for 4 s",
        camera="side",
    )


POSE_TRACK_ALL = _pose_track("pose-track-all", "all", "goals for all joints")
POSE_TRACK_HANDS = _pose_track("pose-track-hands", "root-hands", "goals for root and hands")
POSE_TRACK_ROOT = _pose_track("pose-track-root", "root", "goals for the root only")
POSE_TRACK = POSE_TRACK_ALL, POSE_TRACK_HANDS, POSE_TRACK_ROOT
