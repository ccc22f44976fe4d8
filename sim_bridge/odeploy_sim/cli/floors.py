"""The lower bounds of a round trip as a program, started by `odeploy bench`.

python -m odeploy_sim.cli.floors FILE --rate 100 --ticks 200 --out floors.json
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from odeploy_runtime.robot.connect import Transport
from odeploy_sim.bench.floors import measured_floors


@dataclass(frozen=True)
class Config:
    """Measure the bare session call and the bare echo of one policy file at one rate."""

    file: Annotated[Path, tyro.conf.Positional]
    """Policy file, for its inference and its vector sizes."""
    rate: float
    """Ticks per second [Hz]."""
    ticks: int = 200
    """Number of ticks of each bound; half of them with pre-touch."""
    provider: str = "auto"
    """Execution provider of the bare session."""
    transport: Transport = "auto"
    """How the echo's frames travel."""
    out: Path = Path("floors.json")
    """File for the durations: lists of ns."""


def main(arguments: list[str]) -> None:
    """Measure and write the durations."""
    config = tyro.cli(Config, args=arguments, prog="python -m odeploy_sim.cli.floors")
    measured = measured_floors(config.file, config.rate, config.ticks, config.provider, config.transport)
    config.out.write_text(json.dumps(measured))


if __name__ == "__main__":
    main(sys.argv[1:])
