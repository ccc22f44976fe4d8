"""The catalogue: every task that verbs take by name, a module for each paper that brought them.

Limits of signals are what the environment's own model guarantees; one without a limit has none there.
"""

import difflib

from odeploy_runtime.errors import MissingError
from odeploy_sim.catalogue.arm_track import ARM_TRACK
from odeploy_sim.catalogue.control_suite import GRID_WORLD, SUITE
from odeploy_sim.catalogue.fm_irl import (
    ANT_GOAL,
    FETCH_PICK,
    FETCH_REACH,
    HAND_ROTATE,
    HOPPER,
    MAZE_MEDIUM,
    MAZE_MEDIUM_PROGRESS,
    WALKER2D,
)
from odeploy_sim.catalogue.fmer import HALFCHEETAH, HUMANOID, MULTIGOAL
from odeploy_sim.catalogue.kitchen import kitchen, parse
from odeploy_sim.catalogue.pose_track import SPARSE_GOALS
from odeploy_sim.tasks.task import Task

_FM_IRL = MAZE_MEDIUM, MAZE_MEDIUM_PROGRESS, ANT_GOAL, HAND_ROTATE, FETCH_PICK, HOPPER, WALKER2D
_FMER = MULTIGOAL, kitchen(), HALFCHEETAH, HUMANOID
TASKS = {task.name: task for task in (*_FM_IRL, *_FMER, GRID_WORLD, *SUITE, *SPARSE_GOALS, FETCH_REACH, ARM_TRACK)}


def get(name: str) -> Task:
    """The task of that name; `kitchen:microwave+kettle` and its like are made when asked for.

    Raises:
        MissingError: no such task; the message offers the nearest names.
    """
    task = TASKS.get(name) or parse(name)
    if task is None:
        near = difflib.get_close_matches(name, TASKS, n=3, cutoff=0.3) or list(TASKS)[:3]
        raise MissingError(
            where="task",
            expected=f"a catalogued name such as {', '.join(near)}",
            got=repr(name),
            remedy="see `odeploy tasks`",
        )
    return task
