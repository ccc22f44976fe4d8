"""The bench: policy files × rates × transports, served and driven by processes.

Server and robot talk over a local lane or over ZeroMQ's ipc, as in use. The lower bounds of a rate are measured
before, between and after its files. All share one run, so their ratios hold although the machine drifts. The
table and the JSON come from the traces alone, which have every tick.
"""

import itertools
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from rich.progress import Progress

from odeploy_runtime.atomic_file import make_folder
from odeploy_runtime.errors import FormatError
from odeploy_runtime.policy_file.file import PolicyFile
from odeploy_runtime.realtime.child_process import Process, child, child_error, python_module
from odeploy_runtime.realtime.clock import steal_ticks
from odeploy_runtime.realtime.machine import machine
from odeploy_runtime.realtime.scheduling import RealTimeOptions
from odeploy_runtime.realtime.serving import serving
from odeploy_runtime.reports.bench_results import BenchResults, BenchRow, write_results
from odeploy_runtime.reports.latency import summary
from odeploy_runtime.reports.statistics import Percentiles, percentiles_us
from odeploy_runtime.robot.chunk_playback import ChunkOptions
from odeploy_runtime.robot.connect import Transport
from odeploy_runtime.trace.reader import read_trace
from odeploy_sim.bench.floors import Floors
from odeploy_sim.tasks.task import Task

_FLOOR_SECONDS = 1.5
_MIN_FLOOR_TICKS = 60
_POLL_S = 0.2


@dataclass(frozen=True, kw_only=True)
class BenchOptions(ChunkOptions, RealTimeOptions):
    """Options of a bench."""

    lockstep: int = 0
    """Also run this many episodes of each file in lockstep, the same ones, for comparison."""
    provider: str = "auto"
    """Execution provider of the servers and of the lower bounds, see `odeploy serve`."""
    pre_touch: bool = True
    """Let servers run dummy inferences ahead of each observation."""
    noise: float = 1.0
    """Noise level of the task, if it has levels."""
    seed: int = 1
    """Seed of resets and noise."""
    out: Path = Path("runs/bench")
    """Folder for traces and bench.json."""


@dataclass(frozen=True)
class Run:
    """One cell of the bench: a file, a rate (None in lockstep) and a transport."""

    file: PolicyFile
    rate_hz: float | None
    transport: Transport
    episodes: int
    trace: Path


def bench(
    files: Sequence[PolicyFile],
    task: Task,
    rates: Sequence[tuple[float, int]],
    transports: Sequence[Transport],
    options: BenchOptions,
    progress: Progress,
) -> BenchResults:
    """Measure all files at all rates over all transports.

    Write the results to bench.json and return them.

    Args:
        files: policy files with the task's signals.
        task: task to run.
        rates: control rates [Hz], each with its number of episodes.
        transports: how frames travel; the lower bound `echo` travels in the same way.
        options: options of the bench.
        progress: shows a bar for each run.
    """
    make_folder(options.out)
    rows: list[BenchRow] = []
    for (rate, episodes), transport in itertools.product(rates, transports):
        measured, driven = [_floors(files, rate, transport, options, progress)], []
        beside = f"-{transport}" if len(transports) > 1 else ""
        for file in files:
            trace = options.out / f"{file.path.stem}-{rate:g}hz{beside}.trace"
            driven.append(_run(Run(file, rate, transport, episodes, trace), options, task, progress))
            measured.append(_floors(files, rate, transport, options, progress))
        floors = _pooled(measured)
        rows += [_with_floors(row, floors[row.file], options.pre_touch) for row in driven]
    for file in files if options.lockstep else ():
        trace = options.out / f"{file.path.stem}-lockstep.trace"
        rows.append(_run(Run(file, None, transports[0], options.lockstep, trace), options, task, progress))
    results = BenchResults(
        task=task.name,
        machine=machine(),
        noise_level=options.noise,
        pre_touch=options.pre_touch,
        execute=options.execute,
        ahead=options.ahead,
        blend=options.blend,
        rows=tuple(rows),
    )
    write_results(results, options.out / "bench.json")
    return results


def _run(run: Run, options: BenchOptions, task: Task, progress: Progress) -> BenchRow:
    """Run server and robot as two child processes.

    Show the trace's length as progress.
    """
    label = f"{run.file.manifest.name} " + (
        "lockstep" if run.rate_hz is None else f"{run.rate_hz:g} Hz {run.transport}"
    )
    bar = progress.add_task(label, total=run.episodes)
    if progress.disable:  # no terminal: a line for the log instead of a bar
        progress.console.print(f"{label}: {run.episodes} episodes", highlight=False)
    mode = ["--mode", "lockstep"] if run.rate_hz is None else ["--mode", "realtime", "--rate", str(run.rate_hz)]
    touch = "--pre-touch" if options.pre_touch else "--no-pre-touch"
    run.trace.unlink(missing_ok=True)
    steal, started = steal_ticks(), time.monotonic()
    with (
        serving(run.file.path, [touch, "--provider", options.provider, *options.for_server()]) as endpoint,
        tempfile.TemporaryDirectory(prefix="odeploy-") as made,
    ):
        folder = Path(made)
        command = python_module("odeploy", "sim", task.argument, "--endpoint", endpoint, *mode, folder=folder)
        command += ["--episodes", str(run.episodes), "--seed", str(options.seed), "--trace", str(run.trace)]
        command += ["--noise", str(options.noise), "--transport", run.transport]
        command += ["--no-courier"]  # like the lower bounds, without that hop
        command += options.given()
        if run.rate_hz is not None:
            command += options.for_robot()
        log = folder / "robot.log"
        with child(command, log) as robot:
            _wait(robot, lambda: progress.update(bar, completed=_episodes_done(run.trace)))
        if robot.returncode != 0:
            raise child_error(log)
    progress.update(bar, completed=run.episodes)
    trace = read_trace(run.trace)
    manifest = run.file.manifest
    return BenchRow(
        policy=manifest.name,
        method=manifest.method,
        sampler=manifest.sampler_label,
        noise=manifest.noise.mode,
        file=run.file.path.name,
        fingerprint=run.file.fingerprint,
        provider=trace.header.provider,
        trace=run.trace.name,
        obtained=trace.header.obtained,
        steal_s=(steal_ticks() - steal) / 100,
        wall_s=time.monotonic() - started,
        **vars(summary(trace)),
    )


def _floors(
    files: Sequence[PolicyFile],
    rate_hz: float,
    transport: Transport,
    options: BenchOptions,
    progress: Progress,
) -> dict[str, Floors]:
    """Measure the lower bounds of each file, briefly, in a process of its own."""
    ticks = max(_MIN_FLOOR_TICKS, round(_FLOOR_SECONDS * rate_hz))
    bar = progress.add_task(f"floors {rate_hz:g} Hz", total=len(files))
    measured = {}
    for file in files:
        with tempfile.TemporaryDirectory(prefix="odeploy-") as made:
            folder = Path(made)
            out, log = folder / "floors.json", folder / "floors.log"
            arguments = ["--rate", str(rate_hz), "--ticks", str(ticks), "--out", str(out)]
            arguments += ["--provider", options.provider, "--transport", transport]
            command = python_module("odeploy_sim.cli.floors", str(file.path), *arguments, folder=folder)
            with child(command, log) as process:
                _wait(process, lambda: None)
            if process.returncode != 0:
                raise child_error(log)
            measured[file.path.name] = json.loads(out.read_text())
        progress.advance(bar)
    return measured


def _pooled(measured: list[dict[str, Floors]]) -> dict[str, dict[str, dict[str, Percentiles]]]:
    """Return percentiles over all measurements: file -> session|echo -> touched|bare."""
    return {
        file: {
            floor: {
                touch: percentiles_us(
                    np.concatenate([np.array(m[file][floor][touch], np.int64) for m in measured])
                )
                for touch in ("touched", "bare")
            }
            for floor in ("session", "echo")
        }
        for file in measured[0]
    }


def _with_floors(row: BenchRow, floors: dict[str, dict[str, Percentiles]], pre_touch: bool) -> BenchRow:
    """Return the row with its lower bounds and their ratio to its round trip.

    The ratio uses the bounds with the same pre-touch as the server.
    """
    touch, trip = "touched" if pre_touch else "bare", row.round_trip_us["p50"]
    echo, session = floors["echo"][touch]["p50"], floors["session"][touch]["p50"]
    assert echo is not None
    assert session is not None
    ratio = None if trip is None else trip / (echo + session)
    return replace(row, floors=floors, round_trip_to_floors=ratio)


def _wait(process: Process, show: Callable[[], None]) -> None:
    while process.poll() is None:
        time.sleep(_POLL_S)
        show()


def _episodes_done(path: Path) -> int:
    try:
        rows = read_trace(path).rows
    except FormatError:  # not begun yet
        return 0
    return int(rows[-1]["episode"]) + 1 if len(rows) else 0
