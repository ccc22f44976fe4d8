"""Collection of a demonstration dataset: episodes, saved with their card."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console

from odeploy_runtime.errors import UsageError
from odeploy_runtime.policy_file.file import PolicyFile
from odeploy_runtime.trace.format import Trace
from odeploy_sim.demonstrations.card import Card, ExpertCard, processor, versions
from odeploy_sim.demonstrations.dataset import check_free, data_hash, flatten, save
from odeploy_sim.demonstrations.demonstrator import demonstrator
from odeploy_sim.demonstrations.expert import Demonstrator
from odeploy_sim.demonstrations.from_trace import Gathered
from odeploy_sim.demonstrations.from_trace import gather as gather_traces
from odeploy_sim.demonstrations.quality import Quality, region
from odeploy_sim.demonstrations.recorder import Collected, Size, Wanted, gather
from odeploy_sim.tasks.env import TaskEnv
from odeploy_sim.tasks.seeds import DEMONSTRATIONS
from odeploy_sim.tasks.task import Task


@dataclass(frozen=True, kw_only=True)
class CollectOptions:
    """What to collect from an expert.

    Attributes:
        size: amount.
        quality: noise on the actions, and share of the goals.
        noise_level: noise level of the task; 1 is as catalogued.
        successes_only: whether to drop episodes that ended unsolved.
        seed: seed of resets and all noise.
        policy: policy file that acts as the expert; None for the task's own expert.
    """

    size: Size
    quality: Quality = Quality()  # noqa: RUF009 - frozen
    noise_level: float = 1.0
    successes_only: bool = False
    seed: int = 0
    policy: PolicyFile | None = None


@dataclass(frozen=True)
class _Origin:
    """What a card states about its episodes, and what the episodes alone do not show."""

    expert: ExpertCard
    quality: str
    goals: str
    noise_level: float
    successes_only: bool
    seed: int


def collect(
    task: Task, options: CollectOptions, out: Path, console: Console, own: Demonstrator | None = None
) -> Card:
    """Play an expert's episodes and save them; return their card.

    Args:
        task: task to play.
        options: what to collect.
        out: folder of the dataset.
        console: shows the progress.
        own: an expert of the caller's; None for that of the options.

    Raises:
        UsageError: `out` cannot be written, or an option does not fit the task.
        MissingError: the task has no expert.
        ContractError: another task's policy, or a hundred unwanted episodes in a row.
    """
    check_free(out)
    _require_success_key(options.successes_only, task)
    quality, level = options.quality, options.noise_level
    env = TaskEnv(task, level, **quality.arguments(task))
    expert = demonstrator(env, options.policy, options.seed) if own is None else own
    shown = region(env, quality)
    wanted = Wanted(
        options.size, DEMONSTRATIONS.seed(options.seed), quality.action_std, shown, options.successes_only
    )
    collected = gather(env, expert, wanted, console)
    goals = "a part, drawn by the environment" if shown is None else shown.description
    if quality.coverage is None:
        goals = "all"
    origin = _Origin(expert.card, str(quality), goals, level, options.successes_only, options.seed)
    return _saved(out, env, collected, origin, f"{task.name}, {quality}, level {level:g}", console)


def collect_traces(
    traces: Sequence[Trace],
    task: Task,
    out: Path,
    console: Console,
    *,
    successes_only: bool = False,
    stopped_too: bool = False,
) -> tuple[Card, Gathered]:
    """Save the episodes of traces; return their card, and what was left out.

    Args:
        traces: traces of one task at one noise level.
        task: their task.
        out: folder of the dataset.
        console: shows the progress.
        successes_only: whether to drop episodes that ended unsolved.
        stopped_too: whether to include episodes that an operator or a signal ended.

    Raises:
        UsageError: `out` cannot be written, or the task has no successes.
        ContractError: the simulation differs from a trace, or no episode is left.
    """
    check_free(out)
    _require_success_key(successes_only, task)
    header = traces[0].header
    env = TaskEnv(task, header.noise_level)
    found = gather_traces(env, traces, successes_only, stopped_too)
    names, fingerprints = ({getattr(t.header, name) for t in traces} for name in ("policy", "fingerprint"))
    expert = ExpertCard("policy", ", ".join(sorted(names)), ", ".join(sorted(fingerprints)))
    quality = ", ".join(sorted({f"driven {t.header.mode} at {t.header.rate_hz:g} Hz" for t in traces}))
    origin = _Origin(expert, quality, "all", header.noise_level, successes_only, header.seed)
    collected = Collected(found.episodes, found.failures, found.invalid)
    return _saved(out, env, collected, origin, f"{task.name}, {quality}", console), found


def _saved(
    out: Path, env: TaskEnv, collected: Collected, origin: _Origin, description: str, console: Console
) -> Card:
    """Save episodes with their card, and free the simulation."""
    card = _card(env.task, collected, origin)
    with console.status("writing"):
        save(out, env, collected.episodes, origin.expert.name, description, card)
    env.close()
    return card


def _card(task: Task, collected: Collected, origin: _Origin) -> Card:
    episodes = collected.episodes
    returns = np.array([episode.rewards.sum() for episode in episodes])
    return Card(
        task=task.name,
        noise_level=origin.noise_level,
        quality=origin.quality,
        goals=origin.goals,
        successes_only=origin.successes_only,
        episodes=len(returns),
        transitions=sum(len(episode.rewards) for episode in episodes),
        return_mean=float(returns.mean()),
        return_std=float(returns.std()),
        success=float(np.mean([episode.success for episode in episodes])) if task.success_key else None,
        failures_dropped=collected.failures,
        invalid_dropped=collected.invalid,
        seed=origin.seed,
        expert=origin.expert,
        data_hash=data_hash(*flatten(task, episodes)),
        versions=versions(),
        processor=processor(),
        task_digest=task.digest,
    )


def _require_success_key(successes_only: bool, task: Task) -> None:
    if successes_only and task.success_key is None:
        raise UsageError(
            where="--successes-only",
            expected="a task that is solved or not",
            got=f"{task.name}, which is scored by its return",
            remedy="leave it out",
        )
