"""The card of a demonstration dataset: settings, expert, score, machine.

`card.json` is stored beside Minari's `data/`. The same command on the same machine gives the same data hash.
"""

import importlib.metadata
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from odeploy_runtime.realtime.machine import machine
from odeploy_runtime.regular_file import TEXT_BYTES, read_regular
from odeploy_runtime.typed_json import from_json

CARD = "card.json"
_PACKAGES = ("numpy", "mujoco", "gymnasium", "gymnasium-robotics", "dm_control", "onnxruntime", "onnxruntime-gpu")


@dataclass(frozen=True, slots=True)
class ExpertCard:
    """Identity of the expert.

    Attributes:
        kind: a script of odeploy's, or a policy file.
        name: name of the script's class, or the name in the manifest.
        fingerprint: SHA-256 of the script's statements, or the policy file's fingerprint.
    """

    kind: Literal["scripted", "policy"]
    name: str
    fingerprint: str


@dataclass(frozen=True)
class Card:
    """Description of a demonstration dataset.

    Attributes:
        task: name of the task.
        noise_level: noise level of the task; 1 is as catalogued.
        quality: the value of `--quality`.
        goals: description of the goals that are shown.
        successes_only: whether failures were dropped.
        episodes: number of episodes.
        transitions: number of ticks with an action.
        return_mean: mean return of the environment's own rewards over episodes.
        return_std: standard deviation of the same.
        success: share of episodes that ended solved; None for a task scored by its return.
        failures_dropped: number of failed episodes that `successes_only` dropped.
        invalid_dropped: number of episodes in which the simulation broke.
        seed: seed of every random number.
        expert: the expert.
        data_hash: SHA-256 of the flat observations and actions.
        versions: versions of Python and of the packages that determine the numbers.
        processor: processor of the machine.
        task_digest: digest of the task's signals, limits, rate and horizon; empty in older cards.
    """

    task: str
    noise_level: float
    quality: str
    goals: str
    successes_only: bool
    episodes: int
    transitions: int
    return_mean: float
    return_std: float
    success: float | None
    failures_dropped: int
    invalid_dropped: int
    seed: int
    expert: ExpertCard
    data_hash: str
    versions: dict[str, str]
    processor: str
    task_digest: str = ""


def read_card(folder: Path) -> Card | None:
    """Return the card of a dataset.

    Return None for one without, such as those that others published.

    Raises:
        FormatError: the file is damaged.
    """
    path = folder / CARD
    return from_json(Card, read_regular(path, TEXT_BYTES), str(path)) if path.is_file() else None


def versions() -> dict[str, str]:
    """Return the versions that determine a dataset's numbers.

    These are Python's and those of installed packages.
    """
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def processor() -> str:
    """Return the model of this machine's processor."""
    return machine()["processor"]
