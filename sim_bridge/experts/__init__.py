"""Scripted experts: what a few lines of geometry can solve needs no training. A module each.

An expert sees the flat observation of its task and answers a noiseless action; collectors add the noise.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from sim_bridge.catalogue.kitchen import SUBTASKS
from sim_bridge.experts.arm_track import ArmTrackExpert
from sim_bridge.experts.cartpole import CartpoleExpert
from sim_bridge.experts.fetch_pick import FetchPickExpert
from sim_bridge.experts.kitchen import KitchenExpert
from sim_bridge.experts.maze import MazeExpert
from sim_bridge.experts.multigoal import MultigoalExpert
from sim_bridge.experts.point_mass import PointMassExpert
from sim_bridge.experts.reach import ReachExpert
from sim_bridge.experts.reacher import ReacherExpert
from sim_bridge.task import TaskEnv

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
