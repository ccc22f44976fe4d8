"""Local lane against ZeroMQ: `python -m tests.timing.transports`.

One server, and two `odeploy sim` of this checkout: one on the lane, one over ZeroMQ with its I/O process. They
take turns of half a second, so that drift of the machine affects both alike.
"""

import contextlib
import tempfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from odeploy_runtime.realtime.machine import machine_line
from odeploy_runtime.trace.reader import read_trace
from tests.policies import policy_bytes
from tests.timing.against.__main__ import SPANS, spans
from tests.timing.against.clone import SimulatedRobot, this_checkout
from tests.timing.against.paired import difference, self_difference

TRANSPORTS = ("zmq", "lane")


@dataclass(frozen=True)
class Config:
    """Time ticks over both transports, in turns."""

    rate: float = 200.0
    """Control rate [Hz]."""
    pairs: int = 40
    """Number of pairs of turns."""
    turn: float = 0.5
    """Duration of a turn [s]."""
    provider: str = "cpu"
    """Execution provider of the server."""


def main() -> None:
    """Measure and print."""
    config, here = tyro.cli(Config, prog="python -m tests.timing.transports"), this_checkout()
    windows: dict[str, list[tuple[int, int]]] = defaultdict(list)
    with tempfile.TemporaryDirectory(prefix="odeploy-transports-") as made:
        folder = Path(made)
        file = folder / "policy.onnx"
        file.write_bytes(policy_bytes("maze-medium", width=256))
        traces = {transport: folder / f"{transport}.trace" for transport in TRANSPORTS}
        with contextlib.ExitStack() as stack:
            endpoint = stack.enter_context(here.serving(file, folder, "--provider", config.provider))
            robots: dict[str, SimulatedRobot] = {}
            for name, trace in traces.items():
                running = here.simulating("maze-medium", endpoint, config.rate, trace, "--transport", name)
                robots[name] = stack.enter_context(running)
            for pair in range(config.pairs):
                for name in TRANSPORTS if pair % 2 else TRANSPORTS[::-1]:
                    windows[name].append(robots[name].turn(config.turn))
        durations = {
            name: {kind: [spans(read, window, *ends) for window in windows[name]] for kind, ends in SPANS.items()}
            for name, read in ((name, read_trace(path)) for name, path in traces.items())
        }
    Console(width=110).print(_table(config, durations["zmq"], durations["lane"]))


def _table(
    config: Config, zmq: dict[str, list[NDArray[np.int64]]], lane: dict[str, list[NDArray[np.int64]]]
) -> Table:
    title = f"{config.pairs} × {config.turn:g} s at {config.rate:g} Hz, {config.provider}, {machine_line()}"
    table = Table("µs", "zmq", "lane", "lane ÷ zmq", "95 %", "zmq A/A", title=title)
    for kind in SPANS:
        for percentile in (50, 99):
            found = difference(lane[kind], zmq[kind], percentile)
            noise = self_difference(zmq[kind], percentile)
            table.add_row(
                f"{kind} p{percentile}",
                f"{found.theirs_ns / 1e3:.0f}",
                f"{found.ours_ns / 1e3:.0f}",
                f"{1 + found.percent / 100:.2f}",
                f"{1 + found.low / 100:.2f} to {1 + found.high / 100:.2f}",
                f"{1 + noise.low / 100:.2f} to {1 + noise.high / 100:.2f}",
            )
    return table


if __name__ == "__main__":
    main()
