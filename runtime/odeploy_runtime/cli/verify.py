"""`odeploy verify FILE`: verify a policy file on this machine.

Always checked: the fingerprint, that all weights are inside, and the golden rows. With
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
from odeploy_runtime.inference.policy import AUTO, NATIVE, Policy
from odeploy_runtime.inference.trial_load import LOAD_LIMIT_S, load_tried
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
    provider: str = "auto"
    """Execution provider of the golden rows and the parity check, see `odeploy serve`. With `auto`
    and `native` the parity check is that of `cpu`, from which the native program must not differ."""
    load_timeout: float = LOAD_LIMIT_S
    """Time limit of loading the file and of its golden rows [s]."""


def main(arguments: list[str]) -> None:
    """Print one line per check, then the doctor's findings; stop at the first failure."""
    config, console = tyro.cli(Config, args=arguments, prog="odeploy verify"), Terminal()
    file = read(config.file)
    policy = load_tried(file, config.provider, config.load_timeout)
    console.print(f"fingerprint: {policy.fingerprint}", soft_wrap=True, highlight=False)
    console.print(_golden(policy), soft_wrap=True, highlight=False)
    if config.run is None or importlib.util.find_spec("torch") is None:
        reason = "give --run RUN" if config.run is None else "torch is not installed here"
        console.print(f"parity check: not run ({reason})", highlight=False)
    else:
        onnx_runtime = "cpu" if config.provider in (AUTO, NATIVE) else config.provider
        of_run = str(config.file), "--run", str(config.run), "--provider", onnx_runtime
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


def _golden(policy: Policy) -> str:
    """Return what the golden rows showed."""
    m, error = policy.manifest, policy.golden_error
    how = "bit for bit" if error == 0 else f"within {error:.2e}"
    exported_on = [parity.provider for parity in m.parity]
    another = "" if policy.provider in exported_on else f", another provider than the export's {exported_on[0]}"
    return f"golden rows: {len(m.golden)} {how} on {policy.provider}{another}"


def _run(module: str, *arguments: str) -> None:
    """Run a program of a higher floor.

    Its output goes to this process's, its error becomes this process's.
    """
    sys.stdout.flush()
    status, _, errors = finish(python_module(module, *arguments))
    if status != 0:
        raise RelayedError((errors.strip().splitlines() or [f"{module} ended without a message"])[-1])
