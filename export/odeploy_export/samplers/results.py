"""Results of `odeploy samplers`: one JSON line per setting."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from odeploy_export.samplers.settings import NoiseMode, Setting
from odeploy_runtime.atomic_file import write_whole
from odeploy_runtime.errors import FormatError
from odeploy_runtime.regular_file import TEXT_BYTES, read_regular
from odeploy_runtime.typed_json import decode, encode


@dataclass(frozen=True)
class Measured:
    """One deployment setting of one training.

    Attributes:
        key: identifies training, setting and episodes; a setting with a line is not scored again.
        task: catalogued name.
        run: name of the run's folder.
        method: training method.
        seed: seed of the training.
        options: options that determine the training, including solver and steps of its rollouts.
        weights_hash: SHA-256 of the learned weights.
        noise, solver, steps, candidates, evaluations: see `Setting`.
        scored_by: `success` or `return`.
        value: mean score over the episodes.
        low, high: its 95 % interval.
        std: standard deviation over the episodes.
        return_mean: mean return by the environment's own reward.
        episodes: number of scored episodes.
        invalid: number of episodes in which the simulation broke, which are not scored.
        noise_level: noise level of the task.
        score_seed: seed of resets and noise.
        fingerprint: fingerprint of the file.
        inference_us: p50 and p99 of one hot call [µs]; None until measured. Comparable within one run of the
            command, which times all its files in turn.
        machine: machine of the timing.
        git: revision of odeploy at the timing.
        version: version of the method's training.
    """

    key: str
    task: str
    run: str
    method: str
    seed: int
    options: dict[str, Any]
    weights_hash: str
    noise: NoiseMode
    solver: str
    steps: int
    candidates: int
    evaluations: int
    scored_by: str
    value: float
    low: float
    high: float
    std: float
    return_mean: float
    episodes: int
    invalid: int
    noise_level: float
    score_seed: int
    fingerprint: str
    inference_us: dict[str, float] | None
    machine: str
    git: str | None
    version: int = 1

    @property
    def setting(self) -> Setting:
        """How it was deployed."""
        return Setting(self.noise, self.solver, self.steps, self.candidates, self.evaluations)

    def timed(self, inference_us: dict[str, float], machine: str) -> "Measured":
        """Return the line with a new measurement of its latency."""
        return replace(self, inference_us=inference_us, machine=machine)


def read(path: Path) -> dict[str, Measured]:
    """Read lines by their keys; a missing file has none.

    Raises:
        FormatError: another content.
    """
    if not path.exists():
        return {}
    lines = {}
    for number, text in enumerate(_text(path).splitlines(), start=1):
        where = f"{path}, line {number}"
        try:
            line = decode(Measured, json.loads(text), where)
        except ValueError as error:
            raise FormatError(
                where=where, expected="JSON", got=str(error), remedy="give another --out, or remove that line"
            ) from None
        lines[line.key] = line
    return lines


def _text(path: Path) -> str:
    try:
        return read_regular(path, TEXT_BYTES).decode()
    except (OSError, ValueError) as error:
        raise FormatError(
            where=str(path),
            expected="the results of a search",
            got=getattr(error, "strerror", None) or "other bytes",
            remedy="give another --out",
        ) from None


def write(path: Path, lines: Iterable[Measured]) -> None:
    """Replace the file by these lines."""
    text = "".join(json.dumps(encode(line), allow_nan=False) + "\n" for line in lines)
    write_whole(path, text.encode())
