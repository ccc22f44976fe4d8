"""Catalogued tasks, by name; one module for each kind of robot.

Owns the tasks' data: signals, rates, horizons, success. A signal's limits are those that the environment's own
model guarantees; a signal without limits has none there.

May import: tasks, environments (for their constants), suites; the runtime.
"""

import difflib

from odeploy_runtime.errors import MissingError
from odeploy_sim.catalogue.arm_track import ARM_TRACK
from odeploy_sim.catalogue.control_suite import GRID_WORLD, SUITE
from odeploy_sim.catalogue.kitchen import kitchen, parse
from odeploy_sim.catalogue.locomotion import ANT_GOAL, HALFCHEETAH, HOPPER, HUMANOID, WALKER2D
from odeploy_sim.catalogue.manipulation import FETCH_PICK, FETCH_REACH, HAND_ROTATE
from odeploy_sim.catalogue.mazes import MAZE_MEDIUM, MAZE_MEDIUM_PROGRESS
from odeploy_sim.catalogue.multigoal import MULTIGOAL
from odeploy_sim.catalogue.pose_track import POSE_TRACK
from odeploy_sim.tasks.task import Task

_IN_ORDER = (
    MAZE_MEDIUM,
    MAZE_MEDIUM_PROGRESS,
    ANT_GOAL,
    HAND_ROTATE,
    FETCH_PICK,
    HOPPER,
    WALKER2D,
    MULTIGOAL,
    kitchen(),
    HALFCHEETAH,
    HUMANOID,
    GRID_WORLD,
    *SUITE,
    *POSE_TRACK,
    FETCH_REACH,
    ARM_TRACK,
)
TASKS = {task.name: task for task in _IN_ORDER}
"""Tasks by name, in the order of docs/reference/tasks.md and `odeploy tasks`."""


def has(name: str) -> bool:
    """Return whether a name belongs to the catalogue, a choice of sub-tasks included."""
    return name in TASKS or name.partition(":")[0] == "kitchen"


def get(name: str) -> Task:
    """Return the task of that name.

    Choices of sub-tasks such as `kitchen:microwave+kettle` are built on demand.

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
