"""The doctor: what may be wrong with a policy file that is whole and runs, seen on its task.

    python -m odeploy_sim.doctor.examine FILE --task TASK

`odeploy verify FILE --task TASK` starts this program where the simulation is installed; a robot has none. The
file, the task's expert and the bare safe action play the same episodes in lockstep, and what they met are the
observations that everything else is measured on.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from odeploy_runtime.errors import ContractError, OdeployError, UsageError
from odeploy_runtime.inference.onnx_policy import OnnxPolicy
from odeploy_runtime.realtime.clock import Clock, MonotonicClock
from odeploy_runtime.reports.tables import wide
from odeploy_sim.catalogue import get
from odeploy_sim.demonstrations.demonstrator import demonstrator
from odeploy_sim.doctor.answers import answers
from odeploy_sim.doctor.extremes import check_extremes, check_not_numbers, check_saturation
from odeploy_sim.doctor.findings import Finding, findings_table, worst_first
from odeploy_sim.doctor.fit import check_fit
from odeploy_sim.doctor.joints import check_against_expert, check_own_signals
from odeploy_sim.doctor.score import Played, check_score, joined, play, spread, standing_still
from odeploy_sim.doctor.sensitivity import check_sensitivity, sensitivity
from odeploy_sim.doctor.speed import check_speed
from odeploy_sim.experts import EXPERTS
from odeploy_sim.experts.trained import trained
from odeploy_sim.tasks.env import TaskEnv
from odeploy_sim.tasks.task import Task

_ROWS = 128


@dataclass(frozen=True)
class Config:
    """Examines a policy file on its task."""

    file: Annotated[Path, tyro.conf.Positional]
    """A policy file."""
    task: str
    """Name of a catalogued task."""
    episodes: int = 10
    """In lockstep, of the file, of the task's expert, and of the safe action alone."""
    seed: int = 1
    """Decides resets and the policy's noise."""


@dataclass(frozen=True)
class Examination:
    """What was seen.

    Attributes:
        facts: lines on what was measured, whether or not anything is wrong.
        findings: what is wrong, or worth knowing.
    """

    facts: tuple[str, ...]
    findings: tuple[Finding, ...]


def main() -> None:
    """Prints facts and findings; fails if one of them is an error."""
    config, console = tyro.cli(Config, prog="python -m odeploy_sim.doctor.examine"), Console()
    if config.episodes < 1:
        raise UsageError(where="--episodes", expected="at least one", got=str(config.episodes), remedy="change it")
    examination = examine(config.file, get(config.task), config.episodes, config.seed, MonotonicClock())
    for fact in examination.facts:
        console.print(fact, highlight=False, soft_wrap=True)
    if examination.findings:
        wide(console).print(findings_table(examination.findings))
    else:
        console.print("findings: none")
    require_sound(examination.findings, str(config.file))


def require_sound(findings: Sequence[Finding], where: str) -> None:
    """Lets a file pass in which nothing worse than a warning was found.

    Raises:
        ContractError: an error was found; the message has the first.
    """
    errors = [f for f in worst_first(findings) if f.severity == "error"]
    if errors:
        first, more = errors[0], len(errors) - 1
        raise ContractError(
            where=f"{where}, {first.check}, {first.where}" + (f" (and {more} more)" if more else ""),
            expected="a file without errors",
            got=first.seen,
            remedy=first.remedy,
        )


def examine(path: Path, task: Task, episodes: int, seed: int, clock: Clock) -> Examination:
    """Looks at everything; where the signals do not fit, at nothing else."""
    policy = OnnxPolicy.load(path)
    findings = check_fit(policy.manifest, task)
    if any(f.check == "signals" and f.severity == "error" for f in findings):
        return Examination((), tuple(findings))
    file, expert, still = _play_all(path, task, episodes, seed)
    met = [player for player in (file, expert) if player is not None and len(player.observations)]
    observations = joined(met or [still], _ROWS)
    findings += check_score(file, expert, still)
    if expert is not None:
        picks = spread(len(expert.observations), _ROWS)
        answered = answers(policy, expert.observations[picks])
        findings += check_against_expert(task.action_names, answered, expert.actions[picks])
    sensed = sensitivity(policy, observations)
    findings += check_sensitivity(sensed, task.observation, len(observations))
    findings += check_own_signals(task.observation_names, task.action_names, sensed.mean)
    findings += check_saturation(policy, observations)
    findings += check_extremes(policy, observations)
    findings += check_not_numbers(policy, observations[0])
    speed, slow = check_speed(policy, task.rate_hz, clock)
    scores = f"score: {file}; " + (f"the expert {expert}; " if expert else "no expert; ") + f"safe action {still}"
    facts = (
        f"{scores} ({task.scored_by}, {episodes} episodes each)",
        f"observations: {len(observations)} of {sum(len(p.observations) for p in met)} ticks met",
        f"inference: {speed}",
    )
    return Examination(facts, tuple(findings + slow))


def _play_all(path: Path, task: Task, episodes: int, seed: int) -> tuple[Played, Played | None, Played]:
    env, expert = TaskEnv(task), None
    try:
        if task.name in EXPERTS or trained(task):
            expert = play(env, demonstrator(env, None, seed), episodes, seed)
        file = play(env, demonstrator(env, path, seed), episodes, seed)
        return file, expert, play(env, standing_still(task), episodes, seed)
    finally:
        env.close()


if __name__ == "__main__":
    try:
        main()
    except OdeployError as error:
        sys.exit(str(error))
