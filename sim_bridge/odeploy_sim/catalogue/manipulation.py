"""Hand and arms, of FM-IRL (arXiv 2510.09222), and `fetch-reach`, the smallest."""

from odeploy_runtime.signals import Signal
from odeploy_sim.catalogue.signal_names import angles, angular_velocities, quaternion, xyz
from odeploy_sim.tasks.task import NoiseScale, Task

_HAND_JOINTS = tuple(
    f"robot0:{finger}J{i}"
    for finger, joints in (("WR", 2), ("FF", 4), ("MF", 4), ("RF", 4), ("LF", 5), ("TH", 5))
    for i in reversed(range(joints))
)

# The last joint of each finger but the thumb's hangs on a tendon and has no motor.
_HAND_MOTORS = tuple(name for name in _HAND_JOINTS if name[-1] != "0" or name[-4:-2] in ("WR", "TH"))

HAND_ROTATE = Task(
    name="hand-rotate",
    gym_id="odeploy/HandRotate-v0",
    entry_point="odeploy_sim.suites.hand_rotate:HandRotateEnv",
    summary="a five-fingered hand turns a block in its palm about the vertical",
    observation=(
        *angles(_HAND_JOINTS),
        *angular_velocities(_HAND_JOINTS),
        *xyz("block_velocity", "m/s"),
        *angular_velocities(("block_x", "block_y", "block_z")),
        *xyz("block", "m"),
        *quaternion("block"),
        *xyz("goal", "m"),
        *quaternion("goal"),
    ),
    # Positions: -1 is the lower end of the joint's range, 1 the upper one.
    action=tuple(Signal(f"{name}_position", "half range", -1.0, 1.0) for name in _HAND_MOTORS),
    rate_hz=25.0,
    physics_step_s=0.002,
    horizon=50,
    safe_action=(0.0,) * 20,
    observation_keys=("observation", "desired_goal"),
    success_key="is_success",
    noise=NoiseScale("noise", 1.0, 2.25, "the start position's spread and the ranges of start yaw and goal yaw"),
    paper="FM-IRL: Hand-rotate",
    differs="a level scales start position, start rotation and goal; the authors' code scales the position alone",
)

FETCH_REACH = Task(
    name="fetch-reach",
    gym_id="FetchReach-v4",
    summary="a 7-axis arm moves its gripper to a point in space",
    observation=(
        *xyz("gripper", "m"),
        Signal("right_finger_position", "m"),
        Signal("left_finger_position", "m"),
        *xyz("gripper_velocity", "m/tick"),
        Signal("right_finger_velocity", "m/tick"),
        Signal("left_finger_velocity", "m/tick"),
        *xyz("goal", "m"),
    ),
    action=(*xyz("gripper_displacement", "0.05 m", 1.0), Signal("finger_displacement", "1", -1.0, 1.0)),
    rate_hz=25.0,
    physics_step_s=0.002,
    horizon=50,
    safe_action=(0.0, 0.0, 0.0, 0.0),
    observation_keys=("observation", "desired_goal"),
    success_key="is_success",
    package="gymnasium_robotics",
    paper="none of the three",
    differs="gymnasium-robotics' FetchReach-v4 as it is; small, and its observation is a dictionary",
)

FETCH_PICK = Task(
    name="fetch-pick",
    gym_id="odeploy/FetchPick-v0",
    entry_point="odeploy_sim.suites.fetch_pick:FetchPickEnv",
    summary="a 7-axis arm picks a block up and holds it in the air at a goal",
    observation=(
        *xyz("gripper", "m"),
        *xyz("block", "m"),
        *xyz("block_from_gripper", "m"),
        Signal("right_finger_position", "m"),
        Signal("left_finger_position", "m"),
        *angles(("block_x", "block_y")),  # Euler angles as gymnasium-robotics takes them; that about z is left out
        *xyz("goal", "m"),
    ),
    action=(*xyz("gripper_displacement", "0.05 m", 1.0), Signal("finger_displacement", "1", -1.0, 1.0)),
    rate_hz=25.0,
    physics_step_s=0.002,
    horizon=50,
    safe_action=(0.0, 0.0, 0.0, 0.0),
    observation_keys=("observation", "desired_goal"),
    success_key="is_success",
    noise=NoiseScale("noise", 1.0, 2.25, "the ranges of the block's start and of the goal"),
    paper="FM-IRL: Fetch-pick",
    differs="success is judged at tick 50, where theirs ends the episode as soon as the goal is reached once; "
    "ranges as theirs, on gymnasium-robotics' FetchPickAndPlace-v4; demonstrations are our own",
)
