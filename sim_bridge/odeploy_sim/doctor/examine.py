"""The doctor: faults of an intact policy file that show on its task.

The file, the task's expert and the bare safe action play the same episodes in lockstep. The observations of these
episodes are what everything else is measured on.
"""

from dataclasses import dataclass

from odeploy_runtime.inference.onnx_policy import OnnxPolicy
from odeploy_runtime.policy_file.file import PolicyFile
from odeploy_runtime.realtime.clock import Clock
from odeploy_sim.demonstrations.demonstrator import demonstrator
from odeploy_sim.doctor.answers import answers
from odeploy_sim.doctor.extremes import check_extremes, check_not_numbers, check_saturation
from odeploy_sim.doctor.findings import Finding
from odeploy_sim.doctor.fit import check_fit
from odeploy_sim.doctor.joints import check_against_expert, check_own_signals
from odeploy_sim.doctor.score import PlayerScore, check_ends, check_score, joined, play, spread, standing_still
from odeploy_sim.doctor.seen import seen_by
from odeploy_sim.doctor.sensitivity import check_sensitivity, sensitivity
from odeploy_sim.doctor.speed import check_speed
from odeploy_sim.experts import EXPERTS
from odeploy_sim.experts.trained import trained
from odeploy_sim.tasks.env import TaskEnv
from odeploy_sim.tasks.task import Task

_ROWS = 128


@dataclass(frozen=True)
class Examination:
    """Result of an examination.

    Attributes:
        facts: lines about what was measured, whether or not anything is wrong.
        findings: what is wrong, or worth knowing.
    """

    facts: tuple[str, ...]
    findings: tuple[Finding, ...]


def examine(file: PolicyFile, task: Task, episodes: int, seed: int, clock: Clock) -> Examination:
    """Examine a file on its task; if the signals do not fit, check nothing else."""
    policy = OnnxPolicy(file)
    findings = check_fit(policy.manifest, task)
    if any(f.check == "signals" and f.severity == "error" for f in findings):
        return Examination((), tuple(findings))
    own, expert, still = _play_all(file, task, episodes, seed)
    met = [player for player in (own, expert) if player is not None and len(player.observations)]
    observations = joined([seen_by(policy, player) for player in met or [still]], _ROWS)
    findings += check_score(own, expert, still) + check_ends(own, expert, task)
    if expert is not None:
        picks = spread(len(expert.observations), _ROWS)
        answered = answers(policy, seen_by(policy, expert)[picks])
        findings += check_against_expert(task.action_names, answered, expert.actions[picks])
    sensed = sensitivity(policy, observations)
    findings += check_sensitivity(sensed, policy.manifest.observation, len(observations))
    findings += check_own_signals(policy.manifest.observation_names, task.action_names, sensed.mean)
    findings += check_saturation(policy, observations)
    findings += check_extremes(policy, observations)
    findings += check_not_numbers(policy, observations[0])
    speed, slow = check_speed(policy, task.rate_hz, clock)
    scores = f"score: {own}; " + (f"the expert {expert}; " if expert else "no expert; ") + f"safe action {still}"
    facts = (
        f"{scores} ({task.scored_by}, {episodes} episodes each)",
        f"observations: {len(observations)} of {sum(len(p.observations) for p in met)} ticks met",
        f"inference: {speed}",
    )
    return Examination(facts, tuple(findings + slow))


def _play_all(
    file: PolicyFile, task: Task, episodes: int, seed: int
) -> tuple[PlayerScore, PlayerScore | None, PlayerScore]:
    env, expert = TaskEnv(task), None
    try:
        if task.name in EXPERTS or trained(task):
            expert = play(env, demonstrator(env, None, seed), episodes, seed)
        own = play(env, demonstrator(env, file, seed), episodes, seed)
        return own, expert, play(env, standing_still(task), episodes, seed)
    finally:
        env.close()
