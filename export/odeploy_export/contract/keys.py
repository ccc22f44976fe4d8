"""Keys that training libraries write into ONNX metadata and side files."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Key:
    """A fact about the robot under the names that libraries give it.

    Attributes:
        fact: field of `stated.Stated`.
        names: keys, in lower case.
        becomes: what it becomes in the policy file.
        libraries: libraries that write it.
    """

    fact: str
    names: tuple[str, ...]
    becomes: str
    libraries: str


KEYS = (
    Key(
        "joints",
        ("joint_names", "dof_names", "action_joint_names"),
        "order of inputs and actions, by a permutation in the graph",
        "Isaac Lab, mjlab, holosoma",
    ),
    Key("action_scale", ("action_scale", "action_scales"), "scale of the output", "Isaac Lab, mjlab, Unitree"),
    Key(
        "default_pose",
        ("default_joint_pos", "default_dof_pos", "default_joint_angles", "default_angles"),
        "origin of setpoints and of joint angles in the observation",
        "Isaac Lab, mjlab, Unitree",
    ),
    Key(
        "p_gains",
        ("joint_stiffness", "stiffness", "kp", "kps", "p_gains"),
        "actuation",
        "Isaac Lab, mjlab, holosoma, Unitree",
    ),
    Key(
        "d_gains",
        ("joint_damping", "damping", "kd", "kds", "d_gains"),
        "actuation",
        "Isaac Lab, mjlab, holosoma, Unitree",
    ),
    Key("torque_limits", ("effort_limits", "joint_effort_limits", "torque_limits"), "actuation", "Isaac Lab"),
    Key("observation_terms", ("observation_names",), "recipe", "Isaac Lab, mjlab, Unitree"),
    Key("observation_scales", ("observation_terms_scale",), "recipe", "mjlab, Unitree"),
    Key("observation_history", ("observation_terms_history_length",), "recipe", "mjlab, Unitree"),
    Key("observation_clips", ("observation_terms_clip",), "must be infinite", "mjlab"),
    Key("step_s", ("step_dt", "control_dt", "policy_dt"), "must be the task's period", "Unitree"),
    Key(
        "command_ranges",
        ("command_ranges",),
        "must include the range of the task's command",
        "holosoma, Unitree",
    ),
)
"""Every known key. All others are kept in the provenance."""

FACTS = {name: key.fact for key in KEYS for name in key.names}
"""Key -> fact."""
