"""`odeploy verify FILE`: verify a policy file on this machine.

Always checked: the fingerprint, that all weights are inside, and the golden rows through ONNX Runtime. With
`--run` and torch installed, the full parity check runs too; with `--task`, the doctor plays the task. Each of
these is a program in a process of its own, since the runtime imports neither torch nor a simulator.
"""

import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from odeploy_runtime.errors import MissingError, RelayedError
from odeploy_runtime.inference.onnx_policy import OnnxPolicy
from odeploy_runtime.inference.trial_load import LOAD_LIMIT_S, try_load
from odeploy_runtime.policy_file.file import read
from odeploy_runtime.realtime.child_process import finish, python_module
from odeploy_runtime.reports.terminal import Terminal

PARITY, CLOSED_LOOP = "odeploy_export.cli.verify", "odeploy_export.cli.closed_loop"
DOCTOR = "odeploy_sim.cli.doctor"


@dataclass(frozen=True)
class Config:
    """Verify a policy file: fingerprint, golden rows, parity with its run, doctor."""

    file: Annotated[Path, tyro.conf.Positional]
    """A policy file."""
    run: Path | None = None
    """The training run of the file, for the full parity check."""
    task: str | None = None
    """Task: a catalogued name, file.py:NAME, file.toml, gym:ID or module:NAME. The doctor plays it, and checks
    signals, dead inputs, permuted joints, limits, speed and score."""
    episodes: int = 10
    """Episodes that the doctor plays with the file, the expert and the safe action each."""
    provider: str = "cpu"
    """Execution provider of the golden rows and the parity check: `cpu`, `cuda`, `tensorrt` or `openvino`."""
    load_timeout: float = LOAD_LIMIT_S
    """Time limit of loading the file and of its golden rows [s]."""


def main(arguments: list[str]) -> None:
    """Print one line per check, then the doctor's findings; stop at the first failure."""
    config, console = tyro.cli(Config, args=arguments, prog="odeploy verify"), Terminal()
    file = read(config.file)
    try_load(file, config.provider, config.load_timeout)
    policy = OnnxPolicy(file, config.provider)
    console.print(f"fingerprint: {policy.fingerprint}", soft_wrap=True, highlight=False)
    rows = len(policy.manifest.golden)
    console.print(f"golden rows: {rows} within {policy.golden_error:.2e} on {policy.provider}", highlight=False)
    if config.run is None or importlib.util.find_spec("torch") is None:
        reason = "give --run RUN" if config.run is None else "torch is not installed here"
        console.print(f"parity check: not run ({reason})", highlight=False)
    else:
        of_run = str(config.file), "--run", str(config.run), "--provider", config.provider
        _run(PARITY, *of_run)
        if config.task is not None:
            _run(CLOSED_LOOP, *of_run, "--task", config.task, "--episodes", str(config.episodes))
    if config.task is None:
        console.print("doctor: not run (give --task TASK)", highlight=False)
        return
    if any(importlib.util.find_spec(name) is None for name in ("odeploy_sim", "mujoco")):
        raise MissingError(
            where="--task",
            expected="the simulation packages for the doctor",
            got="none installed here",
            remedy="run: pip install 'odeploy[sim]', or leave --task out",
        )
    _run(DOCTOR, str(config.file), "--task", config.task, "--episodes", str(config.episodes))


def _run(module: str, *arguments: str) -> None:
    """Run a program of a higher floor.

    Its output goes to this process's, its error becomes this process's.
    """
    sys.stdout.flush()
    status, _, errors = finish(python_module(module, *arguments))
    if status != 0:
        raise RelayedError((errors.strip().splitlines() or [f"{module} ended without a message"])[-1])
