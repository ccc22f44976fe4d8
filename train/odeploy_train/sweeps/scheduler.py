"""`odeploy sweep SPEC`: methods × tasks × seeds in parallel, one line per run.

Ray distributes them over this machine or a cluster. Each is a series of verbs as a user would type them, in its
own processes (`sweeps/steps.py`). A run with a line in the results is not repeated; an interrupted one continues
from its last checkpoint. On a cluster the folders must lie on a file system shared by all machines; what runs on a
machine that is lost, Ray runs again on another one.
"""

import functools
import logging
import os
import socket
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import ray
import tyro
from ray.exceptions import RayError, RayTaskError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from odeploy_runtime.errors import OdeployError, RelayedError, UnreachableError, first_line
from odeploy_train.runs.options import require_positive
from odeploy_train.sweeps import steps as sweep_run
from odeploy_train.sweeps.kept_files import keep
from odeploy_train.sweeps.results import RESULTS, Line, append, finished, lines
from odeploy_train.sweeps.spec import RunSpec, read, runs

MEASURED = "measured"
"""Folder of the exported files within a sweep's."""
_REACHABLE_TIMEOUT_S = 5.0


@dataclass(frozen=True)
class Failed:
    """Failed step, with the message of its verb."""

    reason: str


@dataclass(frozen=True)
class Config:
    """Run a sweep, or continue it. The same command continues an interrupted one."""

    spec: Annotated[Path, tyro.conf.Positional]
    """Specification in TOML; see docs/results.md."""
    out: Path | None = None
    """Folder of demonstrations, runs and files; default: `runs/sweeps/NAME`."""
    results: Path | None = None
    """Results as JSON lines, one per finished run; default: `results/NAME.jsonl`."""
    keep_files: Path | None = None
    """Folder for the best-scored policy file of each method and task up to 1 MB, with a card as JSON."""
    jobs: int | None = None
    """Parallel runs on this machine; default: one per core."""
    address: str | None = None
    """Address of a Ray cluster; default: this machine."""


def main(arguments: list[str]) -> None:
    """Run what is missing and print the path of the results."""
    config, console = tyro.cli(Config, args=arguments, prog="odeploy sweep"), Console()
    jobs = config.jobs if config.jobs is not None else len(os.sched_getaffinity(0))
    require_positive(jobs=jobs)
    name = config.spec.stem
    out, results = config.out or Path("runs/sweeps") / name, config.results or RESULTS / f"{name}.jsonl"
    wanted = runs(read(config.spec))
    done = finished(results)
    missing = [spec for spec in wanted if spec.key not in done]
    console.print(f"{len(wanted)} runs, {len(wanted) - len(missing)} of them finished before", highlight=False)
    failed: list[str] = []
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task(name, total=len(missing))
        for spec, line in _each(missing, wanted, out.resolve(), jobs, config.address) if missing else ():
            if isinstance(line, Failed):
                failed.append(f"{spec.name}: {line.reason}")
                console.print(failed[-1], style="red", soft_wrap=True, highlight=False)
            else:
                append(results, line)
                _keep(config.keep_files, wanted, results, out, console)
                console.print(f"{spec.name}: {_summary(line)}", soft_wrap=True, highlight=False)
            progress.advance(bar)
    _keep(config.keep_files, wanted, results, out, console)
    console.print(f"results: {results}", soft_wrap=True)
    if failed:
        raise RelayedError(f"{len(failed)} of {len(missing)} runs failed; the same command tries them again")


def _keep(folder: Path | None, wanted: list[RunSpec], results: Path, out: Path, console: Console) -> None:
    """Keep the best files of the finished runs, if a folder is given."""
    if folder is None or not results.exists():
        return
    keys = {spec.key for spec in wanted}
    for kept in keep((line for line in lines(results) if line["key"] in keys), out / MEASURED, folder):
        console.print(f"kept: {kept}", soft_wrap=True)


def _each(
    missing: list[RunSpec], wanted: list[RunSpec], out: Path, jobs: int, address: str | None
) -> Iterator[tuple[RunSpec, Line | Failed]]:
    """Yield runs with their lines, or errors, as they finish; do shared steps once."""
    _connect(jobs, address)
    try:
        collect, train = (ray.remote(_told(step)) for step in (sweep_run.collect, sweep_run.train))
        # Takes no core of Ray's count: it is short, and would otherwise wait for all trainings.
        measure = ray.remote(num_cpus=0)(_told(sweep_run.measure))
        demos: dict[str, Any] = {}
        trained: dict[str, Any] = {}
        by_training = {spec.training: spec for spec in wanted}

        def training(spec: RunSpec) -> Any:
            if spec.demos is not None and spec.task not in demos:
                demos[spec.task] = collect.remote(spec, spec.demos, out / "demos")
            if spec.training not in trained:
                taught_by = demos[spec.task] if spec.demos is not None else None
                begun_from = None if spec.init is None else training(by_training[spec.init])
                trained[spec.training] = train.remote(spec, out / "trained", taught_by, begun_from)
            return trained[spec.training]

        pending = {measure.remote(spec, training(spec), out / MEASURED): spec for spec in missing}
        while pending:
            (ready,), _ = ray.wait(list(pending), num_returns=1)
            yield pending.pop(ready), _result(ready)
    finally:
        ray.shutdown()


def _result(ready: Any) -> Line | Failed:
    """Return the line of a run, or why it died with its machines again and again."""
    try:
        result: Line | Failed = ray.get(ready)
    except RayError as error:
        cause = error.cause if isinstance(error, RayTaskError) else error
        if not isinstance(cause, RayError):  # a bug, which keeps its traceback
            raise
        return Failed(first_line(cause))
    return result


def _told(step: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a step so that its error is its result, passed on by dependent steps."""

    @functools.wraps(step)
    def run(*arguments: Any) -> Any:
        failed = next((a for a in arguments if isinstance(a, Failed)), None)
        if failed is not None:
            return failed
        try:
            return step(*arguments)
        except OdeployError as error:
            return Failed(str(error))

    return run


def _connect(jobs: int, address: str | None) -> None:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    # The default is 15: anything else on the machine would starve the runs.
    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112 - spelt so by Ray
    # A cluster that refuses would add a page of warnings.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "error")
    os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"  # its coming default; without it, a warning
    warnings.filterwarnings("ignore", module="ray")
    cores = jobs if address is None else None
    try:
        if address is not None and address != "auto":
            _check_reachable(address)
        ray.init(
            address, num_cpus=cores, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR
        )
    except (OSError, RuntimeError, ValueError) as error:
        raise UnreachableError(
            where=f"--address {address}",
            expected="a Ray cluster that responds",
            got=str(error).splitlines()[0],
            remedy="see docs/howto/sweep-on-a-cluster.md, or leave the option out to run here",
        ) from None


def _check_reachable(address: str) -> None:
    """Check that a cluster accepts connections; Ray itself tries for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    socket.create_connection((host, int(port)), _REACHABLE_TIMEOUT_S).close()


def _summary(line: Line) -> str:
    scores = [f"{s['value']:.3f} [{s['low']:.3f}, {s['high']:.3f}]" for s in line["scores"].values()]
    return f"{line['scored_by']} {', '.join(scores)}; trained {line['train_s'] / 60:.1f} min"
