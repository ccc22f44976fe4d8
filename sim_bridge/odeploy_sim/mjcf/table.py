"""The `[mjcf]` table of a task file.

name = "arm"
rate_hz = 50                    # a whole number of physics steps a tick
horizon = 200

[mjcf]
model = "arm.xml"               # relative to this file
floor = true                    # add a floor plane
keyframe = "home"               # by default the model's first one
position_noise = 0.1            # of each joint at reset [rad or m]

[mjcf.pd]                       # without it the model's own actuators
p_gains = { "shoulder_*" = 80, "*" = 20 }
d_gains = 2

[[mjcf.observe]]
term = "joint_vel"
scale = 0.05

[[mjcf.reward]]
term = "alive"
weight = 1.0

Where a field has a number per joint, it takes one number, a list of one for each joint, or a table from patterns
of joint names to numbers, of which the first that matches counts.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

PerJoint = Any
"""One number, a list of one for each joint, or a table from patterns of names to numbers."""


@dataclass(frozen=True)
class Observe:
    """A term of the observation: `scale` · value + `offset`, clipped.

    Attributes:
        term: name of the term, see `observation.TERMS`.
        of: the sensor of `sensor`; the site or body of `position`.
        minus: the site or body that `position` is relative to; by default the world.
        joints: patterns of the joints of `joint_pos` and `joint_vel`, in order; by default all hinges and slides.
        relative: whether `joint_pos` is relative to the pose of the reset.
        scale: factor.
        offset: number that is added to the scaled value.
        clip: lowest and highest number.
        period_s: period of the clock of `phase` [s].
        start: share of the period at which the clock of `phase` starts.
        parts: parts of `phase`, in order.
    """

    term: str
    of: str | None = None
    minus: str | None = None
    joints: tuple[str, ...] = ()
    relative: bool = False
    scale: float = 1.0
    offset: float = 0.0
    clip: tuple[float, float] | None = None
    period_s: float | None = None
    start: float = 0.0
    parts: tuple[Literal["sin", "cos"], ...] = ("sin", "cos")


@dataclass(frozen=True)
class Command:
    """Signals that an operator sets; otherwise each reset draws them from their range.

    Attributes:
        names: names of the signals.
        low, high: their ranges.
        unit: their unit.
        marker: mocap body that is placed at the command's three numbers.
    """

    names: tuple[str, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    unit: str = "1"
    marker: str | None = None


@dataclass(frozen=True)
class Pd:
    """Motors under a PD law instead of the model's actuators.

    An action is a setpoint relative to the pose of the reset.

    Attributes:
        p_gains: gain of the position, per joint [N·m/rad, or N/m].
        d_gains: gain of the velocity, per joint [N·m·s/rad, or N·s/m].
        torque_limits: limit, per joint [N·m, or N]; by default those of the model.
        scale: setpoint of an action of 1, per joint [rad, or m].
        joints: patterns of the joints, in the order of the action; by default those that the model's actuators
            drive, or all hinges and slides.
        rate_hz: rate of the law; by default that of the physics.
        interpolation: what happens between two actions, see `Actuation`.
    """

    p_gains: PerJoint
    d_gains: PerJoint
    torque_limits: PerJoint = None
    scale: PerJoint = 1.0
    joints: tuple[str, ...] = ()
    rate_hz: float | None = None
    interpolation: Literal["hold", "linear"] = "hold"


@dataclass(frozen=True)
class Reward:
    """A term of the reward of a tick, times its weight.

    Attributes:
        term: name of the term, see `rewards.TERMS`.
        weight: factor.
        axis: direction of `velocity` in the base's frame; `yaw` turns about its z axis.
        command: signal that `velocity` should follow; by default, more is better.
        of, to: the two sites or bodies of `distance`.
        width: error at which the reward of `velocity` with a command, or of `distance`, falls to 1/e; without it
            the reward of `distance` is minus the distance [m].
    """

    term: str
    weight: float = 1.0
    axis: Literal["x", "y", "z", "yaw"] = "x"
    command: str | None = None
    of: str | None = None
    to: str | None = None
    width: float | None = None


@dataclass(frozen=True)
class Success:
    """What counts as solved: two places are near each other.

    Attributes:
        of, to: the two sites or bodies.
        within_m: largest distance [m].
    """

    of: str
    to: str
    within_m: float


@dataclass(frozen=True)
class End:
    """What ends an episode before its horizon.

    Attributes:
        base_height_m: the base is lower than this [m].
        tilt_rad: the base's z axis leans further from the vertical than this [rad].
    """

    base_height_m: float | None = None
    tilt_rad: float | None = None


@dataclass(frozen=True)
class Mjcf:
    """A simulated robot: a model, and what is observed, commanded and rewarded.

    Attributes:
        model: path of the MJCF, relative to the task file.
        observe: terms of the observation, in order.
        command: signals that an operator sets.
        pd: PD law of the motors; None for the model's actuators.
        reward: terms of the reward.
        end: what ends an episode early.
        success: what counts as solved.
        base: body whose height, tilt and velocity count; by default the first one that floats, or the first one.
        keyframe: keyframe of the reset; by default the first one, or the model's zero pose.
        pose: positions of joints at reset by patterns of their names, instead of the keyframe's [rad or m].
        base_position_m: position of the floating base at reset, instead of the keyframe's [m].
        position_noise: largest noise of each hinge and slide at reset, uniform [rad or m].
        velocity_noise: largest velocity of each hinge and slide at reset, uniform [rad/s or m/s].
        floor: whether to add a floor plane.
        armature: inertia of the rotors, per hinge and slide [kg·m², or kg]; by default the model's.
        physics_step_s: step of the physics [s]; by default the model's.
    """

    model: str
    observe: tuple[Observe, ...]
    command: tuple[Command, ...] = ()
    pd: Pd | None = None
    reward: tuple[Reward, ...] = ()
    end: End = field(default_factory=End)
    success: Success | None = None
    base: str | None = None
    keyframe: str | None = None
    pose: dict[str, float] = field(default_factory=dict)
    base_position_m: tuple[float, float, float] | None = None
    position_noise: float = 0.0
    velocity_noise: float = 0.0
    floor: bool = False
    armature: PerJoint = None
    physics_step_s: float | None = None
