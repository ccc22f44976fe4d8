"""The work of a search: a file for each setting, its score, its latency."""

import gc
import hashlib
import json
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from odeploy_export.kinds.table import kind_of
from odeploy_export.pipeline import export_policy
from odeploy_export.samplers.settings import Axes, Setting, settings
from odeploy_export.sources.runs import from_run
from odeploy_runtime.inference.onnx_policy import OnnxPolicy
from odeploy_runtime.policy_file.file import read
from odeploy_runtime.realtime.child_process import end_worker_with_parent, spawning
from odeploy_runtime.reports.interleaved_timing import interleaved
from odeploy_runtime.robot.chunk_playback import ChunkOptions
from odeploy_sim.bench.batched_policy import EpisodeScores, FileScorer
from odeploy_sim.own_tasks.named import among
from odeploy_sim.own_tasks.reference import resolve
from odeploy_sim.tasks.task import Task
from odeploy_train.runs.folder import RunCard, load_policy
from odeploy_train.runs.provenance import weights_hash

_EACH = 10  # calls of a file in a row


@dataclass(frozen=True)
class Score:
    """How files are scored: all of them on the same episodes.

    Attributes:
        episodes: number of episodes.
        seed: seed of resets and noise.
        level: noise level of the task.
        chunks: how action chunks are played.
    """

    episodes: int
    seed: int
    level: float
    chunks: ChunkOptions


@dataclass(frozen=True)
class Training:
    """A finished run.

    Attributes:
        folder: folder of the run.
        policy: trained policy.
        card: description of the run.
        task: task of the run.
        weights_hash: hash of the policy's weights.
    """

    folder: Path
    policy: Any
    card: RunCard
    task: Task
    weights_hash: str

    @classmethod
    def of(cls, folder: Path, references: Sequence[str] = ()) -> "Training":
        """Read a run folder; `references` name tasks that are not catalogued."""
        policy, card = load_policy(folder)
        task = among(card.stored_task(str(folder)), references)
        return cls(folder, policy, card, task, weights_hash(policy))

    @property
    def name(self) -> str:
        """Name of the folder."""
        return self.folder.resolve().name


@dataclass(frozen=True)
class Job:
    """One file to export, score and time.

    Attributes:
        key: identifies training, setting and episodes.
        training: run that trained the policy.
        setting: how it is deployed.
        file: path of the policy file.
    """

    key: str
    training: Training
    setting: Setting
    file: Path

    def __str__(self) -> str:
        return f"{self.training.name}: {self.setting.sampler}, {self.setting.noise}"


def jobs(training: Training, axes: Axes, score: Score, folder: Path) -> list[Job]:
    """Return a job for each combination of the axes.

    A file is named by weights and setting, so an existing one is the right one.
    """
    made = []
    for setting in settings(training.policy, axes, len(training.task.action), str(training.folder)):
        learned = [training.card.method, training.card.task, training.weights_hash, vars(setting)]
        file = folder / f"{training.name}-{_digest(learned)}.onnx"
        key = _digest([learned, score.episodes, score.seed, score.level, score.chunks.given()])
        made.append(Job(key, training, setting, file))
    return made


def export_missing(wanted: Sequence[Job], exported: Callable[[], object]) -> None:
    """Export the missing files, with the parity check; call back after each.

    Raises:
        ParityError: a graph computes something else than its policy.
    """
    for training in {id(job.training): job.training for job in wanted}.values():
        missing = [job for job in wanted if job.training is training and not job.file.exists()]
        source = from_run(training.folder, None, training.task.argument) if missing else None
        for job in missing:
            assert source is not None
            options = job.setting.sampler_options(kind_of(training.policy))
            export_policy(source, job.file, options)
            exported()


def scored(
    wanted: Sequence[Job], score: Score, processes: int, ended: Callable[[], object]
) -> Iterator[tuple[Job, EpisodeScores]]:
    """Yield the result of each file's episodes, file by file as they finish.

    Args:
        wanted: jobs whose files exist.
        score: how to score.
        processes: number of processes; one is this process.
        ended: called after each episode; with several processes after each file, once per episode.
    """
    if processes > 1:
        with spawning() as context, context.Pool(processes, _begin_worker) as pool:
            tasks = [(i, job.file, job.training.task.argument, score) for i, job in enumerate(wanted)]
            for i, played in pool.imap_unordered(_played_elsewhere, tasks):
                for _ in range(score.episodes):
                    ended()
                yield wanted[i], played
        return
    for task in {job.training.task.name: job.training.task for job in wanted}.values():
        with closing(FileScorer(task, noise_level=score.level)) as scorer:
            for job in wanted:
                if job.training.task.name == task.name:
                    yield job, scorer.play(read(job.file), score.seed, score.episodes, score.chunks, ended)


def inference_us(files: Sequence[Path], calls: int, after_round: Callable[[], object]) -> list[dict[str, float]]:
    """Return p50 and p99 of each file's inference [µs], all files in turn.

    Calls are those of a server. The inputs are a golden row of the file: times do not depend on the numbers.
    """
    policies = [OnnxPolicy.load(file) for file in files]

    def call(policy: OnnxPolicy) -> Callable[[], object]:
        row, shape = policy.manifest.golden[0], (1, *policy.manifest.noise.shape)
        observation = np.array(row.observation, np.float32)
        noise = np.array(row.noise, np.float32).reshape(shape)
        return lambda: policy.infer(observation, noise)

    gc.collect()
    gc.freeze()  # as a server does
    timed = {str(i): call(policy) for i, policy in enumerate(policies)}
    took = interleaved(timed, rounds(calls), _EACH, after_round)
    gc.unfreeze()
    percentiles = [np.percentile(took[str(i)], (50, 99)) / 1e3 for i in range(len(files))]
    return [{"p50": float(p50), "p99": float(p99)} for p50, p99 in percentiles]


def rounds(calls: int) -> int:
    """Return how often `inference_us` calls back."""
    return -(-calls // _EACH)


def _played_elsewhere(work: tuple[int, Path, str, Score]) -> tuple[int, EpisodeScores]:
    i, file, task, score = work
    with closing(FileScorer(resolve(task), noise_level=score.level)) as scorer:
        return i, scorer.play(read(file), score.seed, score.episodes, score.chunks)


def _begin_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent
    end_worker_with_parent()


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
