"""The catalogue: every task that verbs take by name, with each of its signals named in order.

Limits are what the environment's own model guarantees; an observation without a limit has none here.
"""

import difflib

from runtime.errors import MissingError
from runtime.signals import Signal
from sim_bridge.task import Task


def _xyz(prefix: str, unit: str, limit: float | None = None) -> tuple[Signal, ...]:
    low = None if limit is None else -limit
    return tuple(Signal(f"{prefix}_{axis}", unit, low, limit) for axis in "xyz")


MAZE_MEDIUM = Task(
    name="maze-medium",
    gym_id="PointMaze_Medium-v3",
    summary="a force-driven ball finds its way to a goal through an 8 × 8 maze",
    observation=(
        Signal("ball_x", "m", -4.0, 4.0),
        Signal("ball_y", "m", -4.0, 4.0),
        Signal("ball_velocity_x", "m/s"),
        Signal("ball_velocity_y", "m/s"),
        Signal("goal_x", "m", -4.0, 4.0),
        Signal("goal_y", "m", -4.0, 4.0),
    ),
    action=(Signal("motor_x", "100 N", -1.0, 1.0), Signal("motor_y", "100 N", -1.0, 1.0)),
    rate_hz=100.0,
    horizon=400,
    safe_action=(0.0, 0.0),
    observation_keys=("observation", "desired_goal"),
    success_key="success",
    make_arguments={"continuing_task": False},
)

HOPPER = Task(
    name="hopper",
    gym_id="Hopper-v5",
    summary="a one-legged robot hops forward; scored by the return",
    observation=(
        Signal("rootz_position", "m"),
        Signal("rooty_angle", "rad"),
        Signal("thigh_joint_angle", "rad"),
        Signal("leg_joint_angle", "rad"),
        Signal("foot_joint_angle", "rad"),
        Signal("rootx_velocity", "m/s", -10.0, 10.0),
        Signal("rootz_velocity", "m/s", -10.0, 10.0),
        Signal("rooty_angular_velocity", "rad/s", -10.0, 10.0),
        Signal("thigh_joint_angular_velocity", "rad/s", -10.0, 10.0),
        Signal("leg_joint_angular_velocity", "rad/s", -10.0, 10.0),
        Signal("foot_joint_angular_velocity", "rad/s", -10.0, 10.0),
    ),
    action=(
        Signal("thigh_joint_torque", "200 N·m", -1.0, 1.0),
        Signal("leg_joint_torque", "200 N·m", -1.0, 1.0),
        Signal("foot_joint_torque", "200 N·m", -1.0, 1.0),
    ),
    rate_hz=125.0,
    horizon=1000,
    safe_action=(0.0, 0.0, 0.0),
)

FETCH_REACH = Task(
    name="fetch-reach",
    gym_id="FetchReach-v4",
    summary="a 7-axis arm moves its gripper to a point in space",
    observation=(
        *_xyz("gripper", "m"),
        Signal("right_finger_position", "m"),
        Signal("left_finger_position", "m"),
        *_xyz("gripper_velocity", "m/tick"),
        Signal("right_finger_velocity", "m/tick"),
        Signal("left_finger_velocity", "m/tick"),
        *_xyz("goal", "m"),
    ),
    action=(*_xyz("gripper_displacement", "0.05 m", 1.0), Signal("finger_displacement", "1", -1.0, 1.0)),
    rate_hz=25.0,
    horizon=50,
    safe_action=(0.0, 0.0, 0.0, 0.0),
    observation_keys=("observation", "desired_goal"),
    success_key="is_success",
)

TASKS = {task.name: task for task in (MAZE_MEDIUM, HOPPER, FETCH_REACH)}


def get(name: str) -> Task:
    """The task of that name.

    Raises:
        MissingError: no such task; the message offers the nearest names.
    """
    if name not in TASKS:
        near = difflib.get_close_matches(name, TASKS, n=3, cutoff=0.3) or list(TASKS)
        raise MissingError(
            where="task",
            expected=f"a catalogued name such as {', '.join(near)}",
            got=repr(name),
            remedy="see `odeploy tasks`",
        )
    return TASKS[name]
