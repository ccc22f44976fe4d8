"""`odeploy verify FILE`: proves a policy file on this machine.

Always: the fingerprint, that all weights are inside, and the golden rows through ONNX Runtime. With `--run`
and torch installed also the full parity gate, with `--task` what the doctor finds when the task is played;
each in a process of its own, since the runtime knows no torch and no simulation.
"""

import importlib.util
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from odeploy_runtime.errors import MissingError, RelayedError
from odeploy_runtime.inference.onnx_policy import OnnxPolicy
from odeploy_runtime.realtime.child_process import python_module


@dataclass(frozen=True)
class Config:
    """Proves a policy file: fingerprint, golden rows, against its run the full gate, on its task the doctor."""

    file: Annotated[Path, tyro.conf.Positional]
    """A policy file."""
    run: Path | None = None
    """The training run that it came from, for the full gate."""
    task: str | None = None
    """A catalogued task, for the doctor: signals, dead inputs, permuted joints, limits, speed, score."""
    episodes: int = 10
    """That the doctor plays, of the file, the expert and the safe action."""
    provider: str = "cpu"
    """Execution provider of the golden rows and the full gate: `cpu`, `cuda`, `tensorrt` or `openvino`."""


def main(arguments: list[str]) -> None:
    """Prints one line for each proof, then the doctor's findings; the first that fails ends the program."""
    config, console = tyro.cli(Config, args=arguments, prog="odeploy verify"), Console()
    policy = OnnxPolicy.load(config.file, config.provider)
    console.print(f"fingerprint: {policy.fingerprint}", soft_wrap=True, highlight=False)
    rows = len(policy.manifest.golden)
    console.print(f"golden rows: {rows} within {policy.golden_error:.2e} on {policy.provider}", highlight=False)
    if config.run is None or importlib.util.find_spec("torch") is None:
        reason = "give --run RUN" if config.run is None else "torch is not installed here"
        console.print(f"full gate: not run ({reason})", highlight=False)
    else:
        of_run = str(config.file), "--run", str(config.run), "--provider", config.provider
        _child("odeploy_export.cli.verify", *of_run)
        if config.task is not None:
            _child("odeploy_export.cli.closed_loop", *of_run, "--episodes", str(config.episodes))
    if config.task is None:
        console.print("doctor: not asked (give --task TASK)", highlight=False)
        return
    if any(importlib.util.find_spec(name) is None for name in ("odeploy_sim", "mujoco")):
        raise MissingError(
            where="--task",
            expected="the simulation, in which the doctor plays the task",
            got="none installed here",
            remedy="run: pip install 'odeploy[sim]', or leave --task out",
        )
    _child("odeploy_sim.cli.doctor", str(config.file), "--task", config.task, "--episodes", str(config.episodes))


def _child(module: str, *arguments: str) -> None:
    """Runs a program of the floors above; what it prints goes where ours goes, its error becomes ours."""
    sys.stdout.flush()
    command = python_module(module, *arguments)
    result = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
    if result.returncode != 0:
        raise RelayedError((result.stderr.strip().splitlines() or [f"{module} ended without a message"])[-1])
