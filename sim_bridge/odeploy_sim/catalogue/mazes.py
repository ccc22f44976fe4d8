"""A ball in a maze, of FM-IRL (arXiv 2510.09222), and with a reward for progress."""

from dataclasses import replace

from odeploy_runtime.signals import Signal
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
