"""Check of a file's score, between the expert's and that of the safe action.

All three play the same episodes. Only the score reveals weights that were never trained, a missing normaliser or
reversed time: such a file is intact, its golden rows agree, and it moves.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from odeploy_runtime.reports.statistics import mean_interval, wilson_interval
from odeploy_sim.demonstrations.card import ExpertCard
from odeploy_sim.demonstrations.dataset import Episode, flatten
from odeploy_sim.demonstrations.expert import Demonstrator
from odeploy_sim.demonstrations.recorder import record
from odeploy_sim.doctor.findings import Finding, Severity
from odeploy_sim.tasks.env import TaskEnv, episode_seed
from odeploy_sim.tasks.seeds import SCORES
from odeploy_sim.tasks.task import Task

_WORTHLESS, _WORSE = 0.25, 0.9
_EARLY = 0.25  # share of the horizon
_CHECK = "score"


@dataclass(frozen=True)
class PlayerScore:
    """Episodes of one player.

    Attributes:
        observations: observations of all ticks. Shape (M, O).
        actions: actions of all ticks. Shape (M, A).
        values: score of each episode: 0 or 1 for success, or the return.
        low, high: 95 % interval of their mean.
        broken: number of episodes in which the simulation broke; they are not among the values.
        lengths: length of each episode [ticks].
        ended: number of episodes that the task ended, rather than the horizon.
    """

    observations: NDArray[np.float32]
    actions: NDArray[np.float32]
    values: tuple[float, ...]
    low: float
    high: float
    broken: int
    lengths: tuple[int, ...] = ()
    ended: int = 0

    @property
    def score(self) -> float:
        """Mean of the values."""
        return float(np.mean(self.values)) if self.values else 0.0

    def __str__(self) -> str:
        digits = 0 if abs(self.score) >= 100 else 2
        return f"{self.score:.{digits}f} [{self.low:.{digits}f}, {self.high:.{digits}f}]"


def play(env: TaskEnv, player: Demonstrator, episodes: int, seed: int) -> PlayerScore:
    """Play the episodes 0 to `episodes` - 1 of a seed, the same for every player."""
    rng, whole = np.random.default_rng(0), list[Episode]()
    for number in range(episodes):
        episode = record(env, player, number, episode_seed(SCORES.seed(seed), number), 0.0, rng)
        whole += [] if episode is None else [episode]
    task = env.task
    observations = np.empty((0, len(task.observation)), np.float32)
    actions = np.empty((0, len(task.action)), np.float32)
    if whole:
        observations, actions = flatten(task, whole)
    by_success = task.scored_by == "success"
    values = tuple(float(e.success if by_success else e.rewards.sum()) for e in whole)
    if by_success:
        low, high = wilson_interval(round(sum(values)), len(values))
    else:
        low, high = mean_interval(values) if values else (-np.inf, np.inf)
    broken, lengths = episodes - len(whole), tuple(len(e.actions) for e in whole)
    return PlayerScore(observations, actions, values, low, high, broken, lengths, sum(e.terminated for e in whole))


def standing_still(task: Task) -> Demonstrator:
    """Return a player that gives the safe action at every tick."""
    action = np.array(task.safe_action, np.float32)
    return Demonstrator(ExpertCard("scripted", "safe action", "0" * 64), lambda _: lambda _: action)


def check_score(file: PlayerScore, expert: PlayerScore | None, still: PlayerScore) -> list[Finding]:
    """Compare the scores.

    Without an expert, check only that the file beats standing still.
    """
    findings = []
    if file.broken:
        seen = f"the simulation broke in {file.broken} of {file.broken + len(file.values)} episodes"
        remedy = "look at the actions of such an episode: odeploy sim, then odeploy film"
        findings.append(Finding("error", _CHECK, "file", seen, remedy))
    if not file.values:
        return findings
    remedy = (
        "check that the weights are trained, that normalisers and joint order are those of training, and that "
        "t = 0 is noise; odeploy verify --run finds which"
    )
    if expert is None or not expert.score > still.score:
        if file.high <= still.score:
            seen = f"{file}, where the safe action alone has {still} over the same {len(file.values)} episodes"
            findings.append(Finding("warning", _CHECK, "file", seen, remedy))
        return findings
    seen = (
        f"{file}; the expert {expert}, the safe action alone {still}, over the same {len(expert.values)} episodes"
    )
    if _share(file.score, expert, still) < _WORTHLESS:
        findings.append(Finding("error", _CHECK, "file", f"hardly better than standing still: {seen}", remedy))
    elif _share(file.high, expert, still) < _WORSE:
        remedy = "train longer or on more demonstrations, if this is less than it should be"
        findings.append(Finding("warning", _CHECK, "file", f"worse than the expert: {seen}", remedy))
    return findings


def check_ends(file: PlayerScore, expert: PlayerScore | None, task: Task) -> list[Finding]:
    """Find a file whose episodes the task ends early, as when a robot falls.

    A task that is scored by success may end with it, and one whose expert's episodes end early too is hard.
    """
    count = len(file.lengths)
    if task.scored_by == "success" or 2 * file.ended <= count or (expert is not None and expert.ended):
        return []
    mean, rate_hz = float(np.mean(file.lengths)), task.rate_hz
    seen = (
        f"the task ended {file.ended} of {count} episodes early, as when a robot falls: they last "
        f"{mean / rate_hz:.2g} s of {task.horizon / rate_hz:.3g} s on average"
    )
    remedy = (
        "check the scale of the action, the order of the joints and the gains in the recipe and the actuation; "
        "look at an episode: odeploy sim --mode lockstep --video"
    )
    severity: Severity = "error" if file.ended == count and mean < _EARLY * task.horizon else "warning"
    return [Finding(severity, "early end", "file", seen, remedy)]


def _share(value: float, expert: PlayerScore, still: PlayerScore) -> float:
    """Return where a value lies between standing still, 0, and the expert, 1."""
    return (value - still.score) / (expert.score - still.score)


def joined(seen: Sequence[NDArray[np.float32]], rows: int) -> NDArray[np.float32]:
    """Return at most `rows` observations, spread evenly over those of all players.

    Shape (M, O).
    """
    observations = np.concatenate(seen)
    return observations[spread(len(observations), rows)]


def spread(count: int, rows: int) -> NDArray[np.int64]:
    """Return at most `rows` numbers below `count`, spread evenly."""
    return np.unique(np.linspace(0, count - 1, rows).astype(np.int64))
