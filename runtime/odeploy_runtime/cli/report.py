"""`odeploy report DIR`: a bench's results as one HTML page."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from odeploy_runtime.atomic_file import write_whole
from odeploy_runtime.reports.html import render
from odeploy_runtime.reports.terminal import Terminal


@dataclass(frozen=True)
class Config:
    """Draw a bench's results as one HTML page."""

    bench: Annotated[Path, tyro.conf.Positional]
    """Folder written by `odeploy bench`."""
    out: Path | None = None
    """Path of the page; by default `report.html` in that folder."""


def main(arguments: list[str]) -> None:
    """Read bench.json and its traces; write the page."""
    config = tyro.cli(Config, args=arguments, prog="odeploy report")
    out = config.out or config.bench / "report.html"
    write_whole(out, render(config.bench).encode())
    Terminal().print(f"report: {out}", soft_wrap=True)
