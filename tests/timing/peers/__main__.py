"""`python -m tests.timing.peers`: run all peers in turns; write results/peers.json and print the table."""

import contextlib
import os
import random
import tempfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro
from rich.console import Console
from rich.progress import track

from docs.generate.peers_page import RESULTS, Result, Results, page, save
from odeploy_runtime.policy_file.file import read
from odeploy_runtime.realtime.machine import machine_line
from tests.policies import policy_bytes
from tests.timing.peers.environments import python_of, versions
from tests.timing.peers.peer import HERE, PEERS, Peer, Robot, running
from tests.timing.peers.torch_eager import TASK, WIDTH

_AGREES_WITHIN = 1e-5
_SETTLING_TICKS = 5

Durations = dict[tuple[Peer, float], list[int]]


@dataclass(frozen=True)
class Config:
    """Time odeploy and its peers with one policy, in turns; write the table."""

    rates: tuple[float, ...] = (50.0, 200.0, 500.0)
    """Control rates [Hz]."""
    seconds: float = 5.0
    """Measured time of each peer at each rate [s]; twice that at rates below 100 Hz."""
    turn: float = 0.5
    """Duration of a turn [s]; twice that at rates below 100 Hz."""
    environments: Path = HERE / "runs/peers"
    """Folder of the peers' environments."""
    out: Path = RESULTS
    """File for the results."""


def main() -> None:
    """Measure, write and print."""
    config, console = tyro.cli(Config, prog="python -m tests.timing.peers"), Console()
    pythons = {peer: python_of(peer, config.environments) for peer in PEERS}
    missing = {peer.name: python for peer, python in pythons.items() if isinstance(python, str)}
    installed = {peer: python for peer, python in pythons.items() if isinstance(python, Path)}
    began, load = machine_line(), os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="odeploy-peers-") as folder:
        durations = _measured(config, installed, Path(folder), missing, console)
    results = [
        Result(
            peer.name,
            peer.transport,
            peer.computes,
            versions(peer, installed[peer]),
            rate_hz,
            len(took),
            float(np.percentile(took, 50)) / 1e3,
            float(np.percentile(took, 99)) / 1e3,
        )
        for (peer, rate_hz), took in sorted(durations.items(), key=lambda entry: PEERS.index(entry[0][0]))
    ]
    save(Results(began, load, missing, tuple(results)), config.out)
    console.print(page(config.out), markup=False, highlight=False, soft_wrap=True)


def _measured(
    config: Config, pythons: dict[Peer, Path], folder: Path, missing: dict[str, str], console: Console
) -> Durations:
    file = folder / "policy.onnx"
    file.write_bytes(policy_bytes(TASK, width=WIDTH))
    size = len(read(file).manifest.observation)
    durations: Durations = defaultdict(list)
    with contextlib.ExitStack() as stack:
        robots: dict[Peer, Robot] = {}
        for peer, python in pythons.items():
            try:
                robots[peer] = stack.enter_context(running(peer, python, file, size, folder))
            except RuntimeError as error:
                missing[peer.name] = f"{error}"
        _require_same(robots)
        order = random.Random(0)
        for rate_hz in config.rates:
            slow = 2 if rate_hz < 100 else 1
            ticks = round(slow * config.turn * rate_hz)
            turns = track(range(round(config.seconds / config.turn)), f"{rate_hz:g} Hz", console=console)
            for _ in turns:
                for peer in order.sample([*robots], len(robots)):
                    took, _ = robots[peer].turn(rate_hz, ticks)
                    durations[peer, rate_hz] += took[_SETTLING_TICKS:]
    return durations


def _require_same(robots: dict[Peer, Robot]) -> None:
    """Check that all peers answer the same observations with the same actions."""
    actions = {peer: np.array(robot.turn(200.0, 20)[1]) for peer, robot in robots.items()}
    first = next(iter(actions.values()))
    for peer, own in actions.items():
        if not np.abs(own - first).max() <= _AGREES_WITHIN:
            raise SystemExit(
                f"{peer.name}, {peer.transport}, {peer.computes}: other actions than {PEERS[0].name}'s"
            )


if __name__ == "__main__":
    main()
