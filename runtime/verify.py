"""`odeploy verify FILE`: proves a policy file on this machine.

Always: the fingerprint, that all weights are inside, and the golden rows through ONNX Runtime. With `--run`
and torch installed also the full parity gate, in a process of its own, since the runtime knows no torch.
"""

import importlib.util
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from runtime.errors import RelayedError
from runtime.onnx_policy import OnnxPolicy


@dataclass(frozen=True)
class Config:
    """Proves a policy file: fingerprint, golden rows and, against its run, the full gate."""

    file: Annotated[Path, tyro.conf.Positional]
    """A policy file."""
    run: Path | None = None
    """The training run that it came from, for the full gate."""
    provider: str = "cpu"
    """Execution provider of the golden rows."""


def main(arguments: list[str]) -> None:
    """Prints one line for each proof; the first that fails ends the program."""
    config, console = tyro.cli(Config, args=arguments, prog="odeploy verify"), Console()
    policy = OnnxPolicy.load(config.file, config.provider)
    console.print(f"fingerprint: {policy.fingerprint}", soft_wrap=True, highlight=False)
    rows = len(policy.manifest.golden)
    console.print(f"golden rows: {rows} within {policy.golden_error:.2e} on {policy.provider}", highlight=False)
    if config.run is None or importlib.util.find_spec("torch") is None:
        reason = "give --run RUN" if config.run is None else "torch is not installed here"
        console.print(f"full gate: not run ({reason})", highlight=False)
        return
    command = [sys.executable, "-m", "export.verify", str(config.file), "--run", str(config.run)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise RelayedError((result.stderr.strip().splitlines() or ["the full gate ended without a message"])[-1])
    console.print(result.stdout.strip(), highlight=False)
