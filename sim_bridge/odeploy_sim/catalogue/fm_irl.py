"""The tasks of FM-IRL (arXiv 2510.09222), and fetch-reach, the small one that shows a dictionary observation."""

from dataclasses import replace

from odeploy_runtime.signals import Signal
from odeploy_sim.catalogue.signal_names import angles, angular_velocities, quaternion, torques, xyz
from odeploy_sim.tasks.task import NoiseScale, Task

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
    physics_step_s=0.01,
    horizon=400,
    safe_action=(0.0, 0.0),
    observation_keys=("observation", "desired_goal"),
    success_key="success",
    entry_point="odeploy_sim.suites.point_maze:MediumMazeEnv",
    make_arguments={"continuing_task": False},
    noise=NoiseScale("position_noise_range", 0.25, 1.6, "how far start and goal lie from their cells' centres"),
    paper="FM-IRL: Maze2d medium, sparse",
    differs="gymnasium-robotics' PointMaze_Medium-v3; 100 Hz as there; demonstrations are our own",
)

MAZE_MEDIUM_PROGRESS = replace(
    MAZE_MEDIUM,
    name="maze-medium-progress",
    gym_id="odeploy/MazeMediumProgress-v0",
    summary="the same maze, rewarded also for every metre by which the way to the goal gets shorter",
    entry_point="odeploy_sim.suites.point_maze:ProgressMazeEnv",
    paper="none: for fine-tuning, where a reward at the goal alone is never met",
    differs="maze-medium but for the reward",
)

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
