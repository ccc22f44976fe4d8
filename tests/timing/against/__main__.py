"""`python -m tests.timing.against OTHER_CLONE`: run the turns and print the differences."""

import contextlib
import tempfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from numpy.typing import NDArray
from rich import box
from rich.console import Console
from rich.progress import track
from rich.table import Table

from odeploy_runtime.policy_file.file import read
from odeploy_runtime.realtime.machine import machine_line
from odeploy_runtime.trace.format import STAMPS, Trace
from odeploy_runtime.trace.reader import read_trace
from tests.policies import policy_bytes
from tests.timing.against.clone import Clone, SimulatedRobot, other_checkout, this_checkout
from tests.timing.against.paired import difference, self_difference
from tests.timing.against.wire_robot import Contract, WireRobot

SETTLING_TICKS = 20
_AT = {name: place for place, name in enumerate(STAMPS)}
SPANS = {
    "round trip": ("sent", "arrived"),
    "due to applied": ("due", "applied"),
    "inference": ("started", "inferred"),
}
"""Durations read from a trace: name -> first and last stamp."""

Durations = dict[str, dict[str, list[NDArray[np.int64]]]]
"""Kind of duration -> checkout -> durations of each turn."""


@dataclass(frozen=True)
class Config:
    """Time this checkout against another one, in turns; print paired differences in percent."""

    other: Annotated[Path, tyro.conf.Positional]
    """Folder of the other checkout, with an editable install in its `.venv`."""
    file: Path | None = None
    """Policy file that both serve; default: a small MLP for maze-medium with random weights."""
    rate: float = 200.0
    """Control rate [Hz]."""
    pairs: int = 60
    """Number of pairs of turns."""
    turn: float = 0.5
    """Duration of a turn [s]."""


def main() -> None:
    """Measure and print."""
    config, console = tyro.cli(Config, prog="python -m tests.timing.against"), Console()
    clones = this_checkout(), other_checkout(config.other)
    for clone in clones:
        clone.check()
    with tempfile.TemporaryDirectory(prefix="odeploy-against-") as folder:
        durations = _measured(config, clones, Path(folder), console)
    console.print(_table(config, durations))


def _measured(config: Config, clones: tuple[Clone, Clone], folder: Path, console: Console) -> Durations:
    file = config.file or folder / "policy.onnx"
    if config.file is None:
        file.write_bytes(policy_bytes("maze-medium", width=256))
    file = file.resolve()
    manifest = read(file).manifest
    contract = Contract(
        manifest.task,
        manifest.observation_names,
        manifest.action_names,
        np.array(manifest.golden[0].observation, "<f4").tobytes(),
    )
    durations: Durations = defaultdict(lambda: defaultdict(list))
    windows: dict[str, list[tuple[int, int]]] = defaultdict(list)
    traces = {clone.name: folder / f"{clone.name}.trace" for clone in clones}
    with contextlib.ExitStack() as stack:
        wired: dict[str, WireRobot] = {}
        simulated: dict[str, SimulatedRobot] = {}
        for clone in clones:
            endpoint = stack.enter_context(clone.serving(file, folder))
            robot = WireRobot(endpoint, contract, config.rate)
            wired[clone.name] = stack.enter_context(contextlib.closing(robot))
            running = clone.simulating(manifest.task, endpoint, config.rate, traces[clone.name])
            simulated[clone.name] = stack.enter_context(running)
        for pair in track(range(config.pairs), "pairs of turns", console=console, disable=not console.is_terminal):
            order = [clone.name for clone in (clones if pair % 2 else clones[::-1])]
            for name in order:
                answered = wired[name].turn(config.turn, SETTLING_TICKS)
                durations["client: round trip"][name].append(answered.round_trip)
                durations["client: inference"][name].append(answered.inference)
            for name in order:
                windows[name].append(simulated[name].turn(config.turn))
    for name, path in traces.items():
        trace = read_trace(path)
        for kind, (first, last) in SPANS.items():
            durations[f"robot: {kind}"][name] = [spans(trace, window, first, last) for window in windows[name]]
    return durations


def spans(trace: Trace, window: tuple[int, int], first: str, last: str) -> NDArray[np.int64]:
    """Return the durations of the answered ticks that were due in a turn, after its settling ticks."""
    stamps = trace.rows["stamps"]
    period_ns = round(1e9 / trace.header.rate_hz)
    begin_ns, end_ns = window[0] + SETTLING_TICKS * period_ns, window[1] - 2 * period_ns
    due, arrived = stamps[:, _AT["due"]], stamps[:, _AT["arrived"]]
    rows = stamps[(due >= begin_ns) & (due < end_ns) & (arrived > 0)]
    spans: NDArray[np.int64] = rows[:, _AT[last]] - rows[:, _AT[first]]
    return spans


def _table(config: Config, durations: Durations) -> Table:
    title = f"{config.pairs} pairs of turns of {config.turn:g} s at {config.rate:g} Hz, {machine_line()}"
    table = Table(
        title=title, box=box.SIMPLE, caption="\\[ ] = 95 % interval; A/A = theirs against itself; times in µs"
    )
    for name in ("", "theirs", "ours", "difference", "", "A/A"):
        table.add_column(name, no_wrap=True)
    for kind, turns in durations.items():
        for percentile in (50, 99):
            found = difference(turns["ours"], turns["theirs"], percentile)
            noise = self_difference(turns["theirs"], percentile)
            table.add_row(
                f"{kind} p{percentile}",
                f"{found.theirs_ns / 1e3:.1f}",
                f"{found.ours_ns / 1e3:.1f}",
                f"{found.percent:+.1f} %",
                f"\\[{found.low:+.1f}, {found.high:+.1f}]",
                f"\\[{noise.low:+.1f}, {noise.high:+.1f}]",
            )
    return table


if __name__ == "__main__":
    main()
