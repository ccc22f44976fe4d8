"""The doctor as a program, started by `odeploy verify FILE --task TASK`.

python -m odeploy_sim.cli.doctor FILE --task TASK
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from odeploy_runtime.errors import OdeployError, UsageError
from odeploy_runtime.policy_file.file import read
from odeploy_runtime.realtime.clock import MonotonicClock
from odeploy_runtime.reports.tables import wide
from odeploy_runtime.reports.terminal import Terminal
from odeploy_sim.doctor.examine import examine
from odeploy_sim.doctor.findings import findings_table, require_sound
from odeploy_sim.own_tasks.reference import resolve


@dataclass(frozen=True)
class Config:
    """Examine a policy file on its task."""

    file: Annotated[Path, tyro.conf.Positional]
    """Policy file."""
    task: str
    """Task: a catalogued name, file.py:NAME, file.toml, gym:ID or module:NAME."""
    episodes: int = 10
    """Number of lockstep episodes of the file, of the task's expert, and of the safe action alone."""
    seed: int = 1
    """Seed of resets and of the policy's noise."""


def main(arguments: list[str]) -> None:
    """Print facts and findings; fail if one of the findings is an error."""
    config, console = tyro.cli(Config, args=arguments, prog="python -m odeploy_sim.cli.doctor"), Terminal()
    if config.episodes < 1:
        raise UsageError(where="--episodes", expected="at least one", got=str(config.episodes), remedy="change it")
    examination = examine(read(config.file), resolve(config.task), config.episodes, config.seed, MonotonicClock())
    for fact in examination.facts:
        console.print(fact, highlight=False, soft_wrap=True)
    if examination.findings:
        wide(console).print(findings_table(examination.findings))
    else:
        console.print("findings: none")
    require_sound(examination.findings, str(config.file))


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except OdeployError as error:
        sys.exit(str(error))
