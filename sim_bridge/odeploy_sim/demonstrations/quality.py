"""Quality of a demonstration dataset: noise on its actions, share of its goals.

Written as `expert`, `noisy:0.5`, `coverage:0.25`, or `noisy:0.5,coverage:0.25`. The last one is that of FM-IRL's
mazes (arXiv 2510.09222), whose datasets never show three of four goals.
"""

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from odeploy_runtime.errors import UsageError
from odeploy_sim.environments.multigoal import GOALS_M, MultigoalEnv
from odeploy_sim.tasks.env import TaskEnv, episode_seed
from odeploy_sim.tasks.seeds import PROBES
from odeploy_sim.tasks.task import Task

# Environments that draw from a part of their goals themselves, by an argument `coverage`.
_DRAW_A_PART = ("fetch-pick",)
_PROBES = 400
_FORM = "expert, noisy:STD, coverage:FRACTION, or the last two joined by a comma"


@dataclass(frozen=True, slots=True)
class Quality:
    """The value of `--quality`.

    Attributes:
        action_std: standard deviation of Gaussian noise on every action, in action units; 0 for the expert itself.
        coverage: share of the goals that are shown, in (0, 1]; None for all goals.
    """

    action_std: float = 0.0
    coverage: float | None = None

    @classmethod
    def parse(cls, text: str) -> "Quality":
        """Parse the written form.

        Raises:
            UsageError: an unknown part, a repeated part, or a number out of its range.
        """
        if text == "expert":
            return cls()
        numbers: dict[str, float] = {}
        for part in text.split(","):
            name, _, number = part.partition(":")
            if name not in ("noisy", "coverage") or name in numbers:
                raise _unclear(text, _FORM, repr(part))
            numbers[name] = _number(number)
            if not 0 < numbers[name] < math.inf:  # false for NaN, too
                raise _unclear(text, f"a positive number after {name}:", repr(number))
        if numbers.get("coverage", 1.0) > 1:
            raise _unclear(text, "a coverage of at most 1", f"{numbers['coverage']:g}")
        return cls(numbers.get("noisy", 0.0), numbers.get("coverage"))

    def __str__(self) -> str:
        noisy = [f"noisy:{_digits(self.action_std)}"] if self.action_std else []
        coverage = [] if self.coverage is None else [f"coverage:{_digits(self.coverage)}"]
        return ",".join([*noisy, *coverage]) or "expert"

    @property
    def slug(self) -> str:
        """Return the quality as part of a dataset's name.

        Minari allows no dots and colons there.
        """
        return str(self).translate(str.maketrans(":,.", "--_"))

    def arguments(self, task: Task) -> dict[str, Any]:
        """Return arguments for an environment that draws from a part of its goals."""
        drawn = self.coverage is not None and task.name in _DRAW_A_PART
        return {"coverage": self.coverage} if drawn else {}


@dataclass(frozen=True)
class Region:
    """The goals that a dataset shows.

    They are the same for every seed, and a larger share contains a smaller one.

    Attributes:
        at_start: whether an episode's first observation has its goal; otherwise the goal is the place nearest to
            the last observation.
        description: the goals in words.
        shows: returns whether the goal of an observation (O,) is among them.
    """

    at_start: bool
    description: str
    shows: Callable[[NDArray[np.float32]], bool]


def region(env: TaskEnv, quality: Quality) -> Region | None:
    """Return the goals that a dataset of this quality shows.

    Return None if it shows every episode.

    For discrete goals (a maze's cells, the four of multigoal-2d) that is a fixed choice of places. For others it
    is the part below a quantile along one axis: the yaw of a rotation, or the first coordinate of a point, which
    on ant-goal's half circle is an arc. The quantile is that of 400 resets, the same for every seed.

    Raises:
        UsageError: a coverage for a task without goals.
    """
    share, task, inside = quality.coverage, env.task, env.env.unwrapped
    if share is None or quality.arguments(task):
        return None
    goal = [i for i, name in enumerate(task.observation_names) if name.startswith("goal_")]
    if hasattr(inside, "maze") and goal:
        return _of_places(np.array(inside.maze.unique_goal_locations), goal, share, at_start=True)
    if isinstance(inside, MultigoalEnv):
        return _of_places(GOALS_M, [0, 1], share, at_start=False)
    if not goal:
        raise UsageError(
            where=f"--quality {quality}",
            expected=f"expert or noisy:STD, as {task.name} has no goals to show a part of",
            got=f"coverage:{share:g}",
            remedy="leave the coverage out",
        )
    return _of_axis(env, goal, share)


def _of_places(places: NDArray[np.float64], columns: list[int], share: float, *, at_start: bool) -> Region:
    # A hash shuffles them equally in every version of every library.
    shuffled = sorted(range(len(places)), key=lambda i: hashlib.sha256(str(i).encode()).digest())
    shown = set(shuffled[: max(1, round(share * len(places)))])

    def shows(observation: NDArray[np.float32]) -> bool:
        return int(np.linalg.norm(places - observation[columns], axis=1).argmin()) in shown

    return Region(at_start, f"{len(shown)} of {len(places)} goals", shows)


def _of_axis(env: TaskEnv, goal: list[int], share: float) -> Region:
    names = env.task.observation_names
    turned = "goal_quaternion_w" in names
    axis, first = "the goal's yaw" if turned else names[goal[0]], goal[0]
    quaternion = [names.index(f"goal_quaternion_{part}") for part in "wxyz"] if turned else []

    def along(observation: NDArray[np.float32]) -> float:
        return yaw_rad(observation[quaternion]) if turned else float(observation[first])

    probes = [along(env.reset(episode_seed(PROBES.seed(), i))) for i in range(_PROBES)]
    highest = math.inf if share == 1 else float(np.quantile(probes, share))
    return Region(True, f"{axis} up to {highest:.4g}", lambda observation: along(observation) <= highest)


def yaw_rad(quaternion: NDArray[Any]) -> float:
    """Return the yaw of a unit quaternion (w, x, y, z), the same for q and -q."""
    w, x, y, z = map(float, quaternion)
    return math.atan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z))


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _digits(number: float) -> str:
    return np.format_float_positional(number, trim="-")


def _unclear(text: str, expected: str, got: str) -> UsageError:
    return UsageError(
        where=f"--quality {text}", expected=expected, got=got, remedy="write it as in noisy:0.5,coverage:0.25"
    )
