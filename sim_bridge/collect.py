"""`odeploy collect TASK`: an expert's episodes become a Minari dataset."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from rich.console import Console
from rich.progress import track

from runtime.errors import ContractError, UsageError
from sim_bridge.catalogue import get
from sim_bridge.demonstrations import Episode, check_free, save
from sim_bridge.experts import Expert, scripted
from sim_bridge.task import TaskEnv, episode_seed


@dataclass(frozen=True)
class Config:
    """Records an expert's episodes as a Minari dataset."""

    task: Annotated[str, tyro.conf.Positional]
    """Name of a catalogued task."""
    out: Path
    """Folder of the dataset; its name ends in a version, such as `maze-medium-expert-v0`."""
    episodes: int = 300
    """How many."""
    noise: float = 0.0
    """Standard deviation of Gaussian noise added to every action, in action units."""
    seed: int = 0
    """Decides resets and noise."""
    policy: Path | None = None
    """A policy file as the expert, where the task has no scripted one."""


def main(arguments: list[str]) -> None:
    """Collects, saves, and says what it was worth."""
    config, console = tyro.cli(Config, args=arguments, prog="odeploy collect"), Console()
    task = get(config.task)
    if config.episodes < 1 or not 0 <= config.noise < float("inf"):
        raise UsageError(
            where="--episodes, --noise",
            expected="at least one episode, and noise that is finite and not negative",
            got=f"{config.episodes} and {config.noise:g}",
            remedy="change them",
        )
    check_free(config.out)
    env = TaskEnv(task)
    expert = scripted(env) if config.policy is None else _policy_expert(config.policy, env, config.seed)
    noise = np.random.default_rng(config.seed)
    seeds = [episode_seed(config.seed, i) for i in range(config.episodes)]
    episodes = [
        record(env, expert, seed, config.noise, noise)
        for seed in track(seeds, description=f"collecting {task.name}", console=console)
    ]
    author = "scripted expert" if config.policy is None else config.policy.name
    save(config.out, env, episodes, author, f"{task.name}, {author}, action noise {config.noise:g}")
    env.close()
    ticks, returns = sum(len(e.rewards) for e in episodes), [e.rewards.sum() for e in episodes]
    success = f", success {np.mean([e.success for e in episodes]):.3f}" if task.success_key else ""
    console.print(
        f"{len(episodes)} episodes, {ticks} ticks, return {np.mean(returns):.2f} ± {np.std(returns):.2f}{success}"
    )
    console.print(f"dataset: {config.out}", soft_wrap=True)


def record(env: TaskEnv, expert: Expert, seed: int, noise_std: float, noise: np.random.Generator) -> Episode:
    """Plays one episode; the executed (noisy, clipped) actions are what is recorded."""
    low, high = env.env.action_space.low, env.env.action_space.high  # type: ignore[attr-defined]
    observation, done = env.reset(seed), False
    observations, actions, rewards = [env.raw], [], []
    while not done:
        wanted = expert(observation) + noise.normal(0, noise_std, len(env.task.action))
        action = np.clip(wanted, low, high).astype(np.float32)
        step = env.step(action)
        observation, done = step.observation, step.done
        observations.append(env.raw)
        actions.append(action)
        rewards.append(step.reward)
    return Episode(observations, np.stack(actions), np.array(rewards), step.terminated, step.success, seed)


def _policy_expert(path: Path, env: TaskEnv, seed: int) -> Expert:
    from runtime.noise import NoiseSource
    from runtime.onnx_policy import OnnxPolicy
    from runtime.signals import require_same_names

    policy = OnnxPolicy.load(path)
    manifest = policy.manifest
    require_same_names(manifest.observation_names, env.task.observation_names, f"{path}, observation")
    require_same_names(manifest.action_names, env.task.action_names, f"{path}, action")
    if manifest.horizon != 1:
        raise ContractError(
            where=str(path),
            expected="one action per inference",
            got=f"{manifest.horizon}",
            remedy="export with horizon 1",
        )
    source, ticks = NoiseSource(manifest.noise, seed), iter(range(2**62))
    return lambda observation: policy.infer(observation, source.draw(0, next(ticks)))[0]
