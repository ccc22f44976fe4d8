"""`--recipe FILE.toml`: how the observation of somebody's policy is made of what the robot senses.

command = ["goal_x", "goal_y"]      # raw signals that the operator sets; none if not given

[[terms]]                           # in the policy's order
of = "signals"
names = ["ball_x", "ball_y"]
ages = [2, 1, 0]                    # ticks ago, oldest first; [0] if not given

[[terms]]
of = "action"                       # what was answered last

[[terms]]
of = "phase"
period_s = 0.5
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from odeploy_export.toml_option import from_toml
from odeploy_runtime.policy_file.recipe import Preparation, Recipe
from odeploy_runtime.typed_json import encode
from odeploy_sim.tasks.task import Task


def recipe_for(task: Task, file: Path) -> Recipe:
    """What the file says, over the signals of the task; raises as `from_toml` does."""
    own = {"raw": encode(task.observation)}
    what = f"a recipe over the signals of {task.name}"
    return from_toml(Recipe, file, "--recipe", what, own, lambda _: None)


def prepared(recipe: Recipe, task: Task, recorded: NDArray[np.float32]) -> NDArray[np.float32]:
    """Recorded ticks as the policy sees them; nobody knows what it answered, so that is zeros.

    Shapes (M, R) -> (M, O).
    """
    preparation = Preparation(recipe, len(task.action), task.rate_hz)
    return np.stack([preparation.observe(0, seq, raw).copy() for seq, raw in enumerate(recorded)])
