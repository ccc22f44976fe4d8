"""The card of a demonstration set: what was asked, who showed it, what it was worth, and on what it was made.

`card.json` lies beside Minari's `data/`. The same command on the same machine gives the same data hash.
"""

import importlib.metadata
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from odeploy_runtime.realtime.machine import machine
from odeploy_runtime.typed_json import from_json

CARD = "card.json"
_PACKAGES = ("numpy", "mujoco", "gymnasium", "gymnasium-robotics", "dm_control", "onnxruntime", "onnxruntime-gpu")


@dataclass(frozen=True, slots=True)
class ExpertCard:
    """Who showed it.

    Attributes:
        kind: a script of ours, or a policy file.
        name: of its class, or in its manifest.
        fingerprint: SHA-256 of the script's statements, or the policy file's own.
    """

    kind: Literal["scripted", "policy"]
    name: str
    fingerprint: str


@dataclass(frozen=True)
class Card:
    """What a demonstration set is.

    Attributes:
        task: catalogued name.
        noise_level: of the task; 1 is as catalogued.
        quality: as `--quality` takes it.
        goals: which are shown, in words.
        successes_only: whether failures were dropped.
        episodes: how many.
        transitions: how many ticks with an action.
        return_mean: of the environment's own rewards, over episodes.
        return_std: likewise.
        success: share of episodes that ended solved; None where the return is the score.
        failures_dropped: how many, with `successes_only`.
        invalid_dropped: episodes in which the simulation broke.
        seed: of every random number.
        expert: who showed it.
        data_hash: SHA-256 of observations and actions, flat.
        versions: of Python and the packages that the numbers depend on.
        processor: of the machine.
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


def read_card(folder: Path) -> Card | None:
    """The card of a set; None where it has none, as sets that others published.

    Raises:
        FormatError: the file is damaged.
    """
    path = folder / CARD
    return from_json(Card, path.read_bytes(), str(path)) if path.is_file() else None


def versions() -> dict[str, str]:
    """Of Python and of what is installed of the packages that a set's numbers depend on."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def processor() -> str:
    """Model of this machine's."""
    return machine()["processor"]
