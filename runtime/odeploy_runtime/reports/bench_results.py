"""Results of a bench: what bench.json holds, one row per run."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from odeploy_runtime.atomic_file import write_whole
from odeploy_runtime.errors import FormatError
from odeploy_runtime.regular_file import TEXT_BYTES, read_regular
from odeploy_runtime.reports.latency import Summary
from odeploy_runtime.reports.statistics import Percentiles
from odeploy_runtime.typed_json import encode, from_json

_FLOORS = ("floors", "round_trip_to_floors")


@dataclass(frozen=True, kw_only=True)
class BenchRow(Summary):
    """One run of a bench: a policy file at a control rate, or in lockstep.

    Attributes:
        policy: name of the policy.
        method: its training method.
        sampler: its solver × steps, `-` without a sampler.
        noise: mode of its noise.
        file: name of the policy file.
        fingerprint: fingerprint of the file.
        provider: execution provider of the server.
        trace: name of the trace, in the folder of bench.json.
        obtained: real-time settings that the robot's process obtained.
        steal_s: CPU time that the hypervisor took during the run [s].
        wall_s: duration of the run [s].
        floors: lower bounds of the round trip, `echo` or `session` -> `touched` or `bare` -> percentiles; None
            unless the run was in real time.
        round_trip_to_floors: round trip p50 / (echo p50 + session p50); None without either.
    """

    policy: str
    method: str
    sampler: str
    noise: str
    file: str
    fingerprint: str
    provider: str
    trace: str
    obtained: dict[str, str]
    steal_s: float
    wall_s: float
    floors: dict[str, dict[str, Percentiles]] | None = None
    round_trip_to_floors: float | None = None


@dataclass(frozen=True)
class BenchResults:
    """The rows of a bench and what they have in common.

    Attributes:
        task: name of the task.
        machine: processor, cores, kernel and versions.
        noise_level: scale of the task's noise.
        pre_touch: whether the servers ran dummy inferences ahead of each observation.
        execute: actions played of each chunk.
        ahead: ticks that an answer may take; None for the default.
        blend: blending of overlapping chunks; None without.
        rows: one per run.
    """

    task: str
    machine: dict[str, str]
    noise_level: float
    pre_touch: bool
    execute: int
    ahead: int | None
    blend: float | None
    rows: tuple[BenchRow, ...]


def write_results(results: BenchResults, path: Path) -> None:
    """Write bench.json, atomically.

    Raises:
        UsageError: the path cannot be written, or the disk is full.
    """
    fields = {**encode(results), "rows": [_fields(row) for row in results.rows]}
    write_whole(path, json.dumps(fields, indent=1).encode())


def read_results(path: Path) -> BenchResults:
    """Read bench.json.

    Raises:
        FormatError: missing, not the results of a bench, or without rows.
    """
    try:
        results = from_json(BenchResults, read_regular(path, TEXT_BYTES), str(path))
    except OSError as error:
        raise _not_results(str(path), error.strerror or type(error).__name__) from None
    except FormatError as error:
        raise _not_results(error.where, error.got) from None
    if not results.rows:
        raise _not_results(str(path), "no rows")
    return results


def _fields(row: BenchRow) -> dict[str, Any]:
    """Return a row's JSON: the run, its summary, and its lower bounds if measured."""
    fields = encode(row)
    floors = {name: fields.pop(name) for name in _FLOORS}
    summary = {field.name: fields.pop(field.name) for field in dataclasses.fields(Summary)}
    return {**fields, **summary, **(floors if row.floors is not None else {})}


def _not_results(where: str, got: str) -> FormatError:
    return FormatError(
        where=where,
        expected="the results of `odeploy bench`",
        got=got,
        remedy="give the folder that `odeploy bench` printed, or run it again",
    )
