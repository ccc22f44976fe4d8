"""The kitchen of FMER (arXiv 2603.17685), a task for any choice of sub-tasks.

`kitchen` has all seven, `kitchen:microwave+kettle` two of them. There are 127 such tasks, so they are built on
demand.
"""

import difflib
from collections.abc import Sequence

from odeploy_runtime.errors import MissingError
from odeploy_runtime.signals import Signal
from odeploy_sim.catalogue.signal_names import angular_velocities, quaternion, xyz
from odeploy_sim.tasks.task import NoiseScale, Task

SUBTASKS = (
    "bottom-burner",
    "top-burner",
    "light-switch",
    "slide-cabinet",
    "hinge-cabinet",
    "microwave",
    "kettle",
)

# Joints in the model's order, each with whether it turns; otherwise it slides.
_ROBOT = {f"robot:panda0_joint{i}": True for i in range(1, 8)} | {
    "robot:panda0_finger_joint1": False,
    "robot:panda0_finger_joint2": False,
}
_FITTINGS = {
    "knob_Joint_1": True,
    "bottom_right_burner": False,
    "knob_Joint_2": True,
    "bottom_left_burner": False,
    "knob_Joint_3": True,
    "top_right_burner": False,
    "knob_Joint_4": True,
    "top_left_burner": False,
    "light_switch": True,
    "light_joint": False,
    "slide_cabinet": False,
    "left_hinge_cabinet": True,
    "right_hinge_cabinet": True,
    "microwave": True,
}


def _position(joint: str, turns: bool) -> Signal:
    return Signal(f"{joint}_angle", "rad") if turns else Signal(f"{joint}_position", "m")


def _velocity(joint: str, turns: bool) -> Signal:
    return Signal(f"{joint}_angular_velocity", "rad/s") if turns else Signal(f"{joint}_velocity", "m/s")


def _command(joint: str, turns: bool) -> Signal:
    """Return the signal of a joint's commanded velocity.

    The environment turns it into a setpoint of the joint's servo.
    """
    name = _velocity(joint, turns).name
    return Signal(name, "2 rad/s" if turns else "2 m/s", -1.0, 1.0)


def kitchen(subtasks: Sequence[str] = SUBTASKS) -> Task:
    """Return the kitchen task with these sub-tasks, in any order.

    Args:
        subtasks: some of `SUBTASKS`, written with hyphens or blanks.

    Raises:
        MissingError: no such sub-task; the message offers the nearest names.
    """
    chosen = [name.strip().replace(" ", "-") for name in subtasks] or [""]
    for name in chosen:
        if name not in SUBTASKS:
            near = difflib.get_close_matches(name, SUBTASKS, n=3, cutoff=0.5) or SUBTASKS
            raise MissingError(
                where="task kitchen",
                expected=f"a sub-task such as {', '.join(near)}",
                got=repr(name),
                remedy="join the ones you want: kitchen:microwave+kettle",
            )
    ordered = tuple(name for name in SUBTASKS if name in chosen)
    every = ordered == SUBTASKS
    return Task(
        name="kitchen" if every else f"kitchen:{'+'.join(ordered)}",
        gym_id="odeploy/Kitchen-v0",
        entry_point="odeploy_sim.suites.kitchen:FlatKitchenEnv",
        summary=f"a 7-axis arm in a kitchen: {'all seven sub-tasks' if every else ', '.join(ordered)}",
        observation=(
            *(_position(*joint) for joint in _ROBOT.items()),
            *(_velocity(*joint) for joint in _ROBOT.items()),
            *(_position(*joint) for joint in _FITTINGS.items()),
            *xyz("kettle", "m"),
            *quaternion("kettle"),
            *(_velocity(*joint) for joint in _FITTINGS.items()),
            *xyz("kettle_velocity", "m/s"),
            *angular_velocities(("kettle_x", "kettle_y", "kettle_z")),
        ),
        action=tuple(_command(*joint) for joint in _ROBOT.items()),
        rate_hz=12.5,
        physics_step_s=0.002,
        horizon=280,
        # The arm creeps under it: the servo's target is where the joint was last seen, and gravity wins a little.
        safe_action=(0.0,) * 9,
        success_key="success" if len(ordered) == 1 else None,
        thresholds=() if len(ordered) == 1 else (1.0, 2.0),  # sub-tasks
        make_arguments={"subtasks": [name.replace("-", " ") for name in ordered]},
        noise=NoiseScale("noise", 1.0, 20.0, "the noise of joint and object sensors"),
        paper="FMER: FrankaKitchen-v1 with 1, 4 and 7 sub-tasks",
        differs="several sub-tasks are scored by the return, which counts those completed; one by whether it was",
    )


def parse(name: str) -> Task | None:
    """Return the task of a name `kitchen` or `kitchen:SUBTASK+SUBTASK`.

    Return None if it is another name.

    Raises:
        MissingError: see `kitchen`.
    """
    task, colon, subtasks = name.partition(":")
    if task != "kitchen":
        return None
    return kitchen(subtasks.split("+") if colon else SUBTASKS)
