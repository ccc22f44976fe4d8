"""`odeploy train expert`: an expert by reinforcement learning.

The algorithms are stable-baselines3's, for any task. Ours are the tasks, the settings, and the
selection of the best policy: returns of PPO rise and fall, so the deterministic policy is scored regularly on
episodes that training never plays, and the best one is kept. `odeploy export --from sb3 RUN/best.zip` exports it.
"""

import dataclasses
import hashlib
import io
import json
import warnings
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import stable_baselines3 as sb3
import torch
import tyro
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor, VecNormalize
from torch import Tensor

from odeploy_runtime.atomic_file import write_whole
from odeploy_runtime.errors import MissingError, UsageError
from odeploy_sim.own_tasks.reference import resolve
from odeploy_sim.tasks.gym_env import FlatEnv
from odeploy_sim.tasks.seeds import EXPERTS
from odeploy_sim.tasks.task import Task
from odeploy_train.experts.sb3_settings import SETTINGS, Algorithm, ExpertSettings, plain
from odeploy_train.runs import checkpoint
from odeploy_train.runs.folder import CARD
from odeploy_train.runs.interrupts import Interrupts
from odeploy_train.runs.options import require_positive
from odeploy_train.runs.rollouts import Rollouts

BEST, NORMALISER, SCORES = "best.zip", "normaliser.npz", "scores.jsonl"
_SCORE_EPISODES = 40


@dataclass(frozen=True)
class Config:
    """Train an expert by reinforcement learning.

    The same command continues an interrupted run.
    """

    task: str
    """Task: a catalogued name, file.py:NAME, file.toml, gym:ID or module:NAME."""
    out: Path
    """Run folder: new, or of an interrupted run."""
    algorithm: Algorithm | None = None
    """Algorithm; default: that of the task's own settings, else PPO. Another one has plain settings. SAC needs
    fewer steps, PPO less time for each."""
    steps: int | None = None
    """Environment steps; default: as in the settings."""
    seed: int = 0
    """Seed of all random numbers."""
    init: Path | None = None
    """Run folder on the same task: begin with its best policy and its normaliser."""
    horizon_ends: bool | None = None
    """Treat the horizon as an end during training; default: as in the settings."""
    threads: int = 1
    """Threads of torch."""


def main(arguments: list[str]) -> None:
    """Train, or continue, and print the best policy's path and score."""
    config, console = tyro.cli(Config, args=arguments, prog="odeploy train expert"), Console()
    task = resolve(config.task)
    settings = SETTINGS.get(task.name)
    if settings is None or config.algorithm not in (None, settings.algorithm):
        settings = plain(task, config.algorithm or "PPO", config.steps)
    given = {name: getattr(config, name) for name in ("steps", "horizon_ends")}
    settings = dataclasses.replace(settings, **{name: value for name, value in given.items() if value is not None})
    require_positive(steps=settings.steps, threads=config.threads)
    settings = dataclasses.replace(settings, score_every=min(settings.score_every, settings.steps))
    torch.set_num_threads(config.threads)
    _begin(config, task, settings)
    with closing(Rollouts(task)) as rollouts:
        best = _learn(config, settings, rollouts, console)
    console.print(f"best: {best:.3f} over {_SCORE_EPISODES} episodes; policy: {config.out / BEST}", soft_wrap=True)


def _begin(config: Config, task: Task, settings: ExpertSettings) -> None:
    """Create the folder of this run, or check that it holds this run."""
    card = {
        "method": f"expert ({settings.algorithm})",
        "task": task.name,
        "task_digest": task.digest,
        "seed": config.seed,
        "steps": settings.steps,
        "horizon_ends": settings.horizon_ends,
        "init": None if config.init is None else _file_hash(config.init / BEST),
    }
    path = config.out / CARD
    config.out.mkdir(parents=True, exist_ok=True)
    if not any(config.out.iterdir()):
        write_whole(path, json.dumps(card, indent=1).encode())
        return
    there = json.loads(path.read_text()) if path.is_file() else None
    if there not in (card, {k: v for k, v in card.items() if k != "task_digest"}):  # older folders have none
        raise UsageError(
            where=f"--out {config.out}",
            expected="a new folder, or that of the same run, to continue it",
            got="other files" if there is None else f"the run {there}",
            remedy="choose another folder, or repeat that run's command",
        )


def _learn(config: Config, settings: ExpertSettings, rollouts: Rollouts, console: Console) -> float:
    task = rollouts.task
    wrapper = HorizonEnds if settings.horizon_ends else gymnasium.Wrapper
    envs = VecMonitor(
        DummyVecEnv([lambda: wrapper(FlatEnv(task, **settings.arguments)) for _ in range(settings.envs)])
    )
    on_policy = settings.algorithm == "PPO"
    normal = VecNormalize(envs, norm_reward=on_policy, gamma=settings.options["gamma"])
    algorithm: BaseAlgorithm = getattr(sb3, settings.algorithm)(
        "MlpPolicy", normal, seed=config.seed, device="cpu", **settings.options
    )
    keeper = _Keeper(config.out, settings, normal, rollouts, console)
    saved = checkpoint.load(config.out)
    if saved is None and config.init is not None:
        _begin_with(algorithm, normal, config.init)
    if saved is not None:
        _restore(algorithm, normal, saved)
        keeper.best, keeper.due = saved["best"], saved["due"]
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with (
        Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress,
        Interrupts() as interrupts,
    ):
        keeper.bar, keeper.progress = progress.add_task(task.name, total=settings.steps), progress
        keeper.interrupts = interrupts
        left = settings.steps - algorithm.num_timesteps
        if left > 0 and keeper.best < settings.enough:
            algorithm.learn(left, keeper, reset_num_timesteps=False)
    normal.close()
    return keeper.best


class _Keeper(BaseCallback):
    """Scores the policy regularly, keeps the best, and writes checkpoints."""

    progress: Progress
    interrupts: Interrupts
    bar: Any

    def __init__(
        self, folder: Path, settings: ExpertSettings, normal: VecNormalize, rollouts: Rollouts, console: Console
    ) -> None:
        super().__init__()
        self.folder, self.settings, self.normal, self.rollouts, self.console = (
            folder, settings, normal, rollouts, console,
        )  # fmt: skip
        self.best, self.due = -np.inf, settings.score_every

    def _on_step(self) -> bool:
        self.progress.update(self.bar, completed=self.num_timesteps)
        if self.num_timesteps >= self.due:
            self.due += self.settings.score_every
            self._score()
            self._save()
        if self.interrupts.asked:
            self._save()
        return not self.interrupts.asked and self.best < self.settings.enough

    def _on_training_end(self) -> None:
        self._save()

    def _score(self) -> None:
        task = self.rollouts.task

        def act(observation: Tensor) -> Tensor:
            normalised = self.normal.normalize_obs(observation.numpy())
            return torch.from_numpy(np.asarray(self.model.predict(normalised, deterministic=True)[0]))

        episodes = self.rollouts.play(act, EXPERTS.seed(), _SCORE_EPISODES)
        score = float((episodes.successes if task.scored_by == "success" else episodes.returns).mean())
        line = {"steps": self.num_timesteps, "score": score, "return_std": float(episodes.returns.std())}
        with (self.folder / SCORES).open("a") as scores:
            scores.write(json.dumps(line) + "\n")
        self.console.print(f"{self.num_timesteps:>10,} steps: {episodes.score(task)}", highlight=False)
        if score > self.best:
            self.best = score
            save_normaliser(self.folder / NORMALISER, self.normal)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # schedules that are functions are not saved, and not needed
                self.model.save(self.folder / BEST)

    def _save(self) -> None:
        rms, returns = self.normal.obs_rms, self.normal.ret_rms
        assert not isinstance(rms, dict)
        state = {
            "step": self.num_timesteps,
            "policy": self.model.get_parameters(),
            "moments": [torch.as_tensor(np.asarray(v)) for m in (rms, returns) for v in (m.mean, m.var, m.count)],
            "best": float(self.best),
            "due": self.due,
        }
        checkpoint.save(self.folder, state)


class HorizonEnds(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Wrapper that reports truncation as an end, so that no value is bootstrapped."""

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Step once."""
        observation, reward, terminated, truncated, info = super().step(action)
        return observation, reward, terminated or truncated, False, info


def _begin_with(algorithm: BaseAlgorithm, normal: VecNormalize, run: Path) -> None:
    """Load the best policy of an earlier run; its moments weigh as much as its steps.

    The policy's noise is reset: otherwise it would have the little noise that the earlier run ended with.
    """
    noise = getattr(algorithm.policy, "log_std", None)  # a Gaussian's, independent of the state
    fresh = None if noise is None else noise.detach().clone()
    algorithm.set_parameters(str(run / BEST))
    if noise is not None and fresh is not None:
        noise.data.copy_(fresh)
    assert not isinstance(normal.obs_rms, dict)
    with np.load(run / NORMALISER, allow_pickle=False) as kept:
        normal.obs_rms.mean, normal.obs_rms.var = kept["mean"], kept["var"]
    normal.obs_rms.count = float(json.loads((run / SCORES).read_text().splitlines()[-1])["steps"])


def _file_hash(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise MissingError(
            where=str(path),
            expected="the best policy of an earlier run",
            got=error.strerror or type(error).__name__,
            remedy="give a folder that `odeploy train expert` printed",
        ) from None


def _restore(algorithm: BaseAlgorithm, normal: VecNormalize, saved: dict[str, Any]) -> None:
    """Restore weights, optimizers, normalisers and steps, with an empty replay buffer."""
    algorithm.set_parameters(saved["policy"])
    algorithm.num_timesteps = saved["step"]
    values = [v.numpy() for v in saved["moments"]]
    assert not isinstance(normal.obs_rms, dict)
    for moments, (mean, var, count) in ((normal.obs_rms, values[:3]), (normal.ret_rms, values[3:])):
        moments.mean, moments.var, moments.count = mean, var, float(count)


def save_normaliser(path: Path, normal: VecNormalize) -> None:
    """Write the observation's moments as plain arrays, not as a pickle."""
    assert not isinstance(normal.obs_rms, dict)
    data = io.BytesIO()
    np.savez(
        data,
        mean=normal.obs_rms.mean,
        var=normal.obs_rms.var,
        epsilon=normal.epsilon,
        clip=normal.clip_obs,
    )
    write_whole(path, data.getvalue())
