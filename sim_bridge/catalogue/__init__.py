"""The catalogue: every task that verbs take by name, a module for each paper that brought them.

Limits of signals are what the environment's own model guarantees; one without a limit has none there.
"""

import difflib

from runtime.errors import MissingError
from sim_bridge.catalogue.fm_irl import ANT_GOAL, FETCH_REACH, HAND_ROTATE, HOPPER, MAZE_MEDIUM, WALKER2D
from sim_bridge.catalogue.fmer import HALFCHEETAH
from sim_bridge.task import Task

TASKS = {
    task.name: task for task in (MAZE_MEDIUM, ANT_GOAL, HAND_ROTATE, HOPPER, WALKER2D, FETCH_REACH, HALFCHEETAH)
}


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
