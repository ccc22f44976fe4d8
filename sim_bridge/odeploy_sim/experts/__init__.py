"""Experts: scripts for tasks that geometry solves, policy files for others.

An expert maps the flat observation of its task to an action without noise; `odeploy collect` adds the noise. A
script has a module of its own. Its statements identify it in results and datasets: changing one makes another
expert, while docstrings, comments and imports may change.

May import: catalogue, tasks, environments, suites; the runtime.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from odeploy_sim.catalogue.kitchen import SUBTASKS
from odeploy_sim.experts.arm_track import ArmTrackExpert
from odeploy_sim.experts.cartpole import CartpoleExpert
from odeploy_sim.experts.fetch_pick import FetchPickExpert
from odeploy_sim.experts.kitchen import KitchenExpert
from odeploy_sim.experts.maze import MazeExpert
from odeploy_sim.experts.multigoal import MultigoalExpert
from odeploy_sim.experts.point_mass import PointMassExpert
from odeploy_sim.experts.reach import ReachExpert
from odeploy_sim.experts.reacher import ReacherExpert
from odeploy_sim.tasks.env import TaskEnv

Expert = Callable[[NDArray[np.float32]], NDArray[np.float32]]


EXPERTS: dict[str, Callable[[TaskEnv], Expert]] = {
    "maze-medium": MazeExpert,
    "maze-medium-progress": MazeExpert,
    "fetch-pick": FetchPickExpert,
    "fetch-reach": ReachExpert,
    "multigoal-2d": MultigoalExpert,
    "arm-track": ArmTrackExpert,
    "cartpole-balance": CartpoleExpert,
    "point-mass": PointMassExpert,
    "reacher-easy": ReacherExpert,
    "reacher-hard": ReacherExpert,
    **{f"kitchen:{subtask}": KitchenExpert for subtask in SUBTASKS},
}
