"""What `odeploy samplers` keeps of each setting: a line of JSON, from which its tables are made."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from odeploy_export.samplers.settings import NoiseMode, Setting
from odeploy_runtime.atomic_file import write_whole
from odeploy_runtime.errors import FormatError
from odeploy_runtime.typed_json import decode, encode


@dataclass(frozen=True)
class Measured:
    """One deployment setting of one training.

    Attributes:
        key: names training, setting and the episodes that were played; what has a line is not scored again.
        task: catalogued name.
        run: name of the run's folder.
        method: the verb that trained it.
        seed: of the training.
        options: of that verb that decide the result, among them the solver and the steps of its rollouts.
        weights_hash: SHA-256 of what it learnt.
        noise, solver, steps, candidates, evaluations: see `Setting`.
        scored_by: `success` or `return`.
        value: the mean of it over the episodes.
        low, high: its 95 % interval.
        std: over the episodes.
        return_mean: of the environment's own reward.
        episodes: that were scored.
        invalid: that broke, and were not.
        noise_level: of the task.
        score_seed: of resets and noise.
        fingerprint: of the file.
        inference_us: p50 and p99 of one call, hot; None until it was measured. Comparable within one call of
            the verb, which measures all its files in turn.
        machine: that timed it.
        git: revision of odeploy that did.
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

    @property
    def setting(self) -> Setting:
        """How it was deployed."""
        return Setting(self.noise, self.solver, self.steps, self.candidates, self.evaluations)

    def timed(self, inference_us: dict[str, float], machine: str) -> "Measured":
        """The same with another measurement of its latency."""
        return replace(self, inference_us=inference_us, machine=machine)


def read(path: Path) -> dict[str, Measured]:
    """Lines by their keys; nothing where there is no file yet.

    Raises:
        FormatError: the file holds something else.
    """
    if not path.exists():
        return {}
    lines = {}
    for number, text in enumerate(path.read_text().splitlines(), start=1):
        where = f"{path}, line {number}"
        try:
            line = decode(Measured, json.loads(text), where)
        except ValueError as error:
            raise FormatError(
                where=where, expected="JSON", got=str(error), remedy="give another --out, or remove that line"
            ) from None
        lines[line.key] = line
    return lines


def write(path: Path, lines: Iterable[Measured]) -> None:
    """Replaces the file by these lines."""
    text = "".join(json.dumps(encode(line), allow_nan=False) + "\n" for line in lines)
    write_whole(path, text.encode())
