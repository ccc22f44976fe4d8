"""`odeploy replay TRACE --policy FILE`: run a policy file on a recorded run again."""

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from odeploy_runtime.errors import ProviderError, UsageError
from odeploy_runtime.inference.policy import AUTO, NATIVE, option_of, require_backend
from odeploy_runtime.inference.trial_load import load_tried
from odeploy_runtime.policy_file.file import read
from odeploy_runtime.reports.replay import replay, require_replayable, require_same
from odeploy_runtime.reports.terminal import Terminal
from odeploy_runtime.trace.format import Trace
from odeploy_runtime.trace.reader import read_trace


@dataclass(frozen=True)
class Config:
    """Run a policy file on a recorded run again, and compare the actions."""

    trace: Annotated[Path, tyro.conf.Positional]
    """A trace: binary, Parquet, or a dump of the flight recorder."""
    policy: Path
    """The policy file that drove the run, or another one."""
    tolerance: float | None = None
    """Largest difference allowed, on unit scale; by default the tolerance of the file's export."""
    provider: str | None = None
    """Execution provider, see `odeploy serve`; by default the one that drove the run, if this machine has it, else
    `cpu`."""


def main(arguments: list[str]) -> None:
    """Print what was compared; the first tick that differs is an error."""
    config, console = tyro.cli(Config, args=arguments, prog="odeploy replay"), Terminal()
    if config.tolerance is not None and not config.tolerance >= 0:
        raise UsageError(
            where="--tolerance", expected="0 or more", got=f"{config.tolerance:g}", remedy="give for example 1e-5"
        )
    trace, file = read_trace(config.trace), read(config.policy)
    policy = load_tried(file, config.provider or _provider_of(trace))
    require_replayable(trace, policy, f"{config.trace}")
    own = policy.fingerprint == trace.header.fingerprint
    other = f"a shadow run: this run was driven by another file, {trace.header.policy}"
    console.print("the file that drove this run" if own else other, highlight=False, soft_wrap=True)
    replayed = replay(trace, policy)
    console.print(
        f"compared: {len(replayed.rows)} of {len(trace.rows)} ticks; {replayed.skipped} skipped, "
        f"{replayed.unanswered} without an action, {replayed.orphans} whose observation is not in the trace",
        highlight=False,
        soft_wrap=True,
    )
    exported_with = max((parity.tolerance for parity in policy.manifest.parity), default=0.0)
    tolerance = exported_with if config.tolerance is None else config.tolerance
    same = require_same(replayed, policy, tolerance, f"{config.trace}", trace.header.provider)
    console.print(same, highlight=False, soft_wrap=True)


def _provider_of(trace: Trace) -> str:
    """Return the provider that drove a run, or the one to take for it on this machine."""
    option = option_of(trace.header.provider)
    if option == NATIVE:
        return AUTO
    with contextlib.suppress(ProviderError):
        require_backend(option)
        return option
    return "cpu"
