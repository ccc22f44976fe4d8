"""Robots that walk, run and hop, of FM-IRL (2510.09222) and FMER (2603.17685)."""

from odeploy_runtime.signals import Signal
from odeploy_sim.catalogue.signal_names import angles, angular_velocities, quaternion, torques, xyz
from odeploy_sim.tasks.task import NoiseScale, Task

_ANT_LEGS = ("hip_1", "ankle_1", "hip_2", "ankle_2", "hip_3", "ankle_3", "hip_4", "ankle_4")

ANT_GOAL = Task(
    name="ant-goal",
    gym_id="odeploy/AntGoal-v0",
    entry_point="odeploy_sim.environments.ant_goal:AntGoalEnv",
    summary="a four-legged robot runs to a point on a half circle of radius 5 m",
    observation=(
        *xyz("torso", "m"),
        *quaternion("torso"),
        *angles(_ANT_LEGS),
        *xyz("torso_velocity", "m/s"),
        *angular_velocities(("torso_x", "torso_y", "torso_z", *_ANT_LEGS)),
        Signal("goal_x", "m", -5.0, 5.0),
        Signal("goal_y", "m", 0.0, 5.0),
    ),
    action=torques(dict.fromkeys((*_ANT_LEGS[6:], *_ANT_LEGS[:6]), 150)),
    rate_hz=20.0,
    physics_step_s=0.01,
    horizon=50,
    safe_action=(0.0,) * 8,
    success_key="success",
    noise=NoiseScale("reset_noise_scale", 0.1, 2.0, "pose and velocity at the spawn"),
    paper="FM-IRL: Ant-goal",
    differs="31 observations, not 132: no contacts, position and goal, not their difference; ends on success",
    camera="field",
)

_HOPPER_JOINTS = ("rooty", "thigh_joint", "leg_joint", "foot_joint")

HOPPER = Task(
    name="hopper",
    gym_id="Hopper-v5",
    summary="a one-legged robot hops forward; scored by the return",
    observation=(
        Signal("rootz_position", "m"),
        *angles(_HOPPER_JOINTS),
        Signal("rootx_velocity", "m/s", -10.0, 10.0),
        Signal("rootz_velocity", "m/s", -10.0, 10.0),
        *angular_velocities(_HOPPER_JOINTS, 10.0),
    ),
    action=torques(dict.fromkeys(_HOPPER_JOINTS[1:], 200)),
    rate_hz=125.0,
    physics_step_s=0.002,
    horizon=1000,
    safe_action=(0.0, 0.0, 0.0),
    paper="FM-IRL and FMER: Hopper",
    differs="version 5 of the environment",
    camera="track",
)

_WALKER_LEGS = ("thigh_joint", "leg_joint", "foot_joint", "thigh_left_joint", "leg_left_joint", "foot_left_joint")

WALKER2D = Task(
    name="walker2d",
    gym_id="Walker2d-v5",
    summary="a two-legged robot walks forward in a plane; scored by the return",
    observation=(
        Signal("rootz_position", "m"),
        *angles(("rooty", *_WALKER_LEGS)),
        Signal("rootx_velocity", "m/s", -10.0, 10.0),
        Signal("rootz_velocity", "m/s", -10.0, 10.0),
        *angular_velocities(("rooty", *_WALKER_LEGS), 10.0),
    ),
    action=torques(dict.fromkeys(_WALKER_LEGS, 100)),
    rate_hz=125.0,
    physics_step_s=0.002,
    horizon=1000,
    safe_action=(0.0,) * 6,
    paper="FM-IRL and FMER: Walker2d",
    differs="version 5 of the environment",
    camera="track",
)

_CHEETAH_GEARS = {"bthigh": 120, "bshin": 90, "bfoot": 60, "fthigh": 120, "fshin": 60, "ffoot": 30}

HALFCHEETAH = Task(
    name="halfcheetah",
    gym_id="HalfCheetah-v5",
    summary="a two-legged robot runs forward in a plane; scored by the return",
    observation=(
        Signal("rootz_position", "m"),
        *angles(("rooty", *_CHEETAH_GEARS)),
        Signal("rootx_velocity", "m/s"),
        Signal("rootz_velocity", "m/s"),
        *angular_velocities(("rooty", *_CHEETAH_GEARS)),
    ),
    action=torques(_CHEETAH_GEARS),
    rate_hz=20.0,
    physics_step_s=0.01,
    horizon=1000,
    safe_action=(0.0,) * 6,
    paper="FMER: HalfCheetah",
    differs="version 5 of the environment",
    camera="track",
)

_HUMANOID_BODIES = (
    "torso", "lwaist", "pelvis",
    "right_thigh", "right_shin", "right_foot", "left_thigh", "left_shin", "left_foot",
    "right_upper_arm", "right_lower_arm", "left_upper_arm", "left_lower_arm",
)  # fmt: skip

_HUMANOID_GEARS = {
    "abdomen_y": 100, "abdomen_z": 100, "abdomen_x": 100,
    "right_hip_x": 100, "right_hip_z": 100, "right_hip_y": 300, "right_knee": 200,
    "left_hip_x": 100, "left_hip_z": 100, "left_hip_y": 300, "left_knee": 200,
    "right_shoulder1": 25, "right_shoulder2": 25, "right_elbow": 25,
    "left_shoulder1": 25, "left_shoulder2": 25, "left_elbow": 25,
}  # fmt: skip

# Joints come in the motors' order, but for the abdomen's first two.
_HUMANOID_JOINTS = ("abdomen_z", "abdomen_y", *tuple(_HUMANOID_GEARS)[2:])


def _inertia(body: str) -> tuple[Signal, ...]:
    """Return a body's mass and inertia about the centre of mass, in world axes."""
    moments = tuple(Signal(f"{body}_inertia_{axes}", "kg·m²") for axes in ("xx", "yy", "zz", "xy", "xz", "yz"))
    return (*moments, *xyz(f"{body}_mass_offset", "kg·m"), Signal(f"{body}_mass", "kg"))


def _spatial(body: str, turning: str, turning_unit: str, moving: str, moving_unit: str) -> tuple[Signal, ...]:
    """Six numbers about the robot's centre of mass.

    MuJoCo has what turns before what moves.
    """
    return (*xyz(f"{body}_{turning}", turning_unit), *xyz(f"{body}_{moving}", moving_unit))


HUMANOID = Task(
    name="humanoid",
    gym_id="Humanoid-v5",
    summary="a two-legged robot with arms walks forward; scored by the return",
    observation=(
        Signal("torso_z", "m"),
        *quaternion("torso"),
        *angles(_HUMANOID_JOINTS),
        *xyz("torso_velocity", "m/s"),
        *angular_velocities(("torso_x", "torso_y", "torso_z", *_HUMANOID_JOINTS)),
        *(signal for body in _HUMANOID_BODIES for signal in _inertia(body)),
        *(
            signal
            for body in _HUMANOID_BODIES
            for signal in _spatial(body, "com_angular_velocity", "rad/s", "com_velocity", "m/s")
        ),
        *(Signal(f"{joint}_motor_torque", "N·m") for joint in _HUMANOID_JOINTS),
        *(
            signal
            for body in _HUMANOID_BODIES
            for signal in _spatial(body, "external_torque", "N·m", "external_force", "N")
        ),
    ),
    action=torques(_HUMANOID_GEARS, 0.4),
    rate_hz=1 / 0.015,
    physics_step_s=0.003,
    horizon=1000,
    safe_action=(0.0,) * 17,
    paper="FMER: Humanoid",
    differs="version 5 of the environment",
    camera="track",
)
