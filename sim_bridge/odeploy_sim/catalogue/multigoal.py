"""The plane task of FMER (arXiv 2603.17685): four goals that are equally good."""

from odeploy_runtime.signals import Signal
from odeploy_sim.tasks.task import NoiseScale, Task

MULTIGOAL = Task(
    name="multigoal-2d",
    gym_id="odeploy/Multigoal-v0",
    entry_point="odeploy_sim.environments.multigoal:MultigoalEnv",
    summary="a point on a plane goes to one of four goals that are equally good",
    observation=(Signal("point_x", "m", -7.1, 7.1), Signal("point_y", "m", -7.1, 7.1)),
    action=(Signal("velocity_x", "2 m/s", -1.0, 1.0), Signal("velocity_y", "2 m/s", -1.0, 1.0)),
    rate_hz=10.0,
    physics_step_s=0.01,
    horizon=50,
    safe_action=(0.0, 0.0),
    success_key="success",
    noise=NoiseScale("noise", 1.0, 10.0, "the spread of the start about the origin"),
    paper="FMER: the two-dimensional multi-goal task",
    differs="our own model: the paper gives goals at four places and the start, neither dynamics nor rewards",
    camera="above",
)
