"""`odeploy bench FILES... --task T`: what each policy file achieves and what it costs, at each rate.

Server and robot are separate processes over ipc, as in use. Before, between and after the files of a rate
the floors are measured; files, floors and rates share one run, so their ratios hold although the machine
drifts. Every tick of every run is kept in a trace; the table and the JSON come from the traces alone.
"""

import json
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro
from rich.console import Console
from rich.progress import Progress

from odeploy_runtime.atomic_file import write_whole
from odeploy_runtime.errors import FormatError, UsageError
from odeploy_runtime.inference.policy import backend_name, require_backend
from odeploy_runtime.policy_file.file import PolicyFile, read
from odeploy_runtime.realtime.child_process import child, child_error, python_module, serving
from odeploy_runtime.realtime.clock import steal_ticks
from odeploy_runtime.realtime.machine import machine, machine_line
from odeploy_runtime.realtime.scheduling import RealTimeOptions
from odeploy_runtime.reports.latency import summary
from odeploy_runtime.reports.statistics import percentiles_us
from odeploy_runtime.reports.tables import LEGEND, floors_table, ledger, ledger_row, wide
from odeploy_runtime.robot.chunk_playback import ChunkOptions
from odeploy_runtime.signals import require_same_names
from odeploy_runtime.trace.reader import read_trace
from odeploy_sim.catalogue import get
from odeploy_sim.simulated_robot.options import require_rate
from odeploy_sim.tasks.task import Task

_FLOOR_SECONDS = 1.5
_MIN_FLOOR_TICKS = 60
_POLL_S = 0.2


@dataclass(frozen=True)
class Config(ChunkOptions, RealTimeOptions):
    """Measures policy files at control rates: return, latency, misses, and the floors under them."""

    files: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Policy files."""
    task: str
    """Name of a catalogued task."""
    rates: str = "100"
    """Control rates in Hz, separated by commas."""
    episodes: str = "20"
    """Episodes at each rate: one number, or one for each rate, separated by commas."""
    lockstep: int = 0
    """Also run this many episodes of each file in lockstep, the same ones, for comparison."""
    provider: str = "cpu"
    """Of the servers: `cpu`, `cuda`, `tensorrt`, `openvino` or `native`; the floors are always those of `cpu`."""
    pre_touch: bool = True
    """Whether servers run dummy inferences ahead of each observation."""
    noise: float = 1.0
    """Noise level of the task, where it has levels."""
    seed: int = 1
    """Decides resets and noise."""
    out: Path = Path("runs/bench")
    """Folder for traces and bench.json."""


@dataclass(frozen=True)
class Run:
    """One cell of the bench: a file at a rate, or in lockstep (rate None)."""

    file: PolicyFile
    rate_hz: float | None
    episodes: int
    trace: Path


def main(arguments: list[str]) -> None:
    """Checks everything first, then measures, prints and writes."""
    config, console = tyro.cli(Config, args=arguments, prog="odeploy bench"), Console()
    task = get(config.task)
    require_backend(config.provider)
    config.require_possible()
    task.arguments(config.noise)  # refuses a level that the task does not know
    files = [_fitting(path, task, config) for path in config.files]
    rates = _numbers(config.rates, "--rates")
    for rate in rates:
        require_rate(rate)
    episodes = [int(n) for n in _numbers(config.episodes, "--episodes")]
    if len(episodes) not in (1, len(rates)) or min(episodes) < 1:
        raise UsageError(
            where="--episodes",
            expected=f"one positive number, or {len(rates)} of them, as there are rates",
            got=config.episodes,
            remedy="give for example --rates 100,200 --episodes 50,20",
        )
    config.out.mkdir(parents=True, exist_ok=True)
    episodes = episodes * len(rates) if len(episodes) == 1 else episodes
    rows, floors = [], {}
    with Progress(console=console, disable=not console.is_terminal) as progress:
        for rate, count in zip(rates, episodes, strict=True):
            measured = [_floors(files, rate, progress)]
            for file in files:
                run = Run(file, rate, count, config.out / f"{file.path.stem}-{rate:g}hz.trace")
                rows.append(_run(run, config, task, progress))
                measured.append(_floors(files, rate, progress))
            floors[rate] = _pooled(measured)
        for file in files if config.lockstep else ():
            run = Run(file, None, config.lockstep, config.out / f"{file.path.stem}-lockstep.trace")
            rows.append(_run(run, config, task, progress))
    for row in rows:
        if row["mode"] == "realtime":
            row["floors"] = floors[row["rate_hz"]][row["file"]]
            row["round_trip_to_floors"] = _ratio(row, config.pre_touch)
    result = {
        "task": task.name,
        "machine": machine(),
        "noise_level": config.noise,
        "pre_touch": config.pre_touch,
        "execute": config.execute,
        "ahead": config.ahead,
        "blend": config.blend,
        "rows": rows,
    }
    write_whole(config.out / "bench.json", json.dumps(result, indent=1).encode())
    _print(result, console)
    console.print(f"results: {config.out / 'bench.json'}, with a trace for each row beside it", soft_wrap=True)


def _fitting(path: Path, task: Task, config: Config) -> PolicyFile:
    file = read(path)
    require_same_names(file.manifest.raw_names, task.observation_names, f"{path} on {task.name}, observation")
    require_same_names(file.manifest.action_names, task.action_names, f"{path} on {task.name}, action")
    config.chunking(file.manifest.horizon, paced=True)
    return file


def _numbers(text: str, option: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise UsageError(
            where=option,
            expected="numbers separated by commas",
            got=repr(text),
            remedy="give for example 100,200",
        ) from None


def _run(run: Run, config: Config, task: Task, progress: Progress) -> dict[str, Any]:
    """Server and robot as two children; this process only looks at how long the trace has become."""
    label = f"{run.file.manifest.name} " + ("lockstep" if run.rate_hz is None else f"{run.rate_hz:g} Hz")
    bar = progress.add_task(label, total=run.episodes)
    if progress.disable:  # no terminal: a line for the log instead of a bar
        progress.console.print(f"{label}: {run.episodes} episodes", highlight=False)
    mode = ["--mode", "lockstep"] if run.rate_hz is None else ["--mode", "realtime", "--rate", str(run.rate_hz)]
    touch = "--pre-touch" if config.pre_touch else "--no-pre-touch"
    run.trace.unlink(missing_ok=True)
    steal, started = steal_ticks(), time.monotonic()
    with (
        serving(run.file.path, [touch, "--provider", config.provider, *config.for_server()]) as endpoint,
        tempfile.TemporaryDirectory(prefix="odeploy-") as folder,
    ):
        log = Path(folder) / "robot.log"
        command = python_module("odeploy", "sim", task.name, "--endpoint", endpoint, *mode)
        command += ["--episodes", str(run.episodes), "--seed", str(config.seed), "--trace", str(run.trace)]
        command += ["--noise", str(config.noise), "--no-courier"]  # as the floors are: without that hop
        command += config.given()
        if run.rate_hz is not None:
            command += config.for_robot()
        with child(command, log) as robot:
            _wait(robot, lambda: progress.update(bar, completed=_episodes_done(run.trace)))
        if robot.returncode != 0:
            raise child_error(log)
    progress.update(bar, completed=run.episodes)
    trace = read_trace(run.trace)
    manifest = run.file.manifest
    return {
        "policy": manifest.name,
        "method": manifest.method,
        "sampler": manifest.sampler_label,
        "noise": manifest.noise.mode,
        "file": run.file.path.name,
        "fingerprint": run.file.fingerprint,
        "provider": backend_name(config.provider),  # the server refuses to start on another
        "trace": run.trace.name,
        "obtained": trace.header.obtained,
        "steal_s": (steal_ticks() - steal) / 100,
        "wall_s": time.monotonic() - started,
        **summary(trace),
    }


def _floors(files: list[PolicyFile], rate_hz: float, progress: Progress) -> dict[str, Any]:
    """One short measurement of both floors for each file: lists of ns."""
    ticks = max(_MIN_FLOOR_TICKS, round(_FLOOR_SECONDS * rate_hz))
    bar = progress.add_task(f"floors {rate_hz:g} Hz", total=len(files))
    measured = {}
    for file in files:
        with tempfile.TemporaryDirectory(prefix="odeploy-") as folder:
            out, log = Path(folder) / "floors.json", Path(folder) / "floors.log"
            command = python_module("odeploy_sim.bench.floors", str(file.path), "--rate", str(rate_hz))
            with child([*command, "--ticks", str(ticks), "--out", str(out)], log) as process:
                _wait(process, lambda: None)
            if process.returncode != 0:
                raise child_error(log)
            measured[file.path.name] = json.loads(out.read_text())
        progress.advance(bar)
    return measured


def _pooled(measured: list[dict[str, Any]]) -> dict[str, Any]:
    """Percentiles over all blocks: file -> session|echo -> touched|bare."""
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


def _ratio(row: dict[str, Any], pre_touch: bool) -> float | None:
    """Round trip p50 / (echo p50 + session p50), the floors with the same pre-touch as the server."""
    touch = "touched" if pre_touch else "bare"
    floor = row["floors"]["echo"][touch]["p50"] + row["floors"]["session"][touch]["p50"]
    return None if row["round_trip_us"]["p50"] is None else row["round_trip_us"]["p50"] / floor


def _wait(process: "subprocess.Popen[bytes]", look: Callable[[], None]) -> None:
    while process.poll() is None:
        time.sleep(_POLL_S)
        look()


def _episodes_done(path: Path) -> int:
    try:
        rows = read_trace(path).rows
    except FormatError:  # not begun yet
        return 0
    return int(rows[-1]["episode"]) + 1 if len(rows) else 0


def _print(result: dict[str, Any], console: Console) -> None:
    table = ledger(f"{result['task']} on {machine_line()}")
    for row in result["rows"]:
        table.add_row(*ledger_row(row))
    wide(console).print(table)
    console.print(LEGEND)
    wide(console).print(floors_table(result["rows"], result["pre_touch"]))
