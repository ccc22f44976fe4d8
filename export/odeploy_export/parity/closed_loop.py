"""Closed loop: torch and the ONNX file play the same episodes, each on its own answers, until they part.

    python -m odeploy_export.parity.closed_loop FILE --run RUN --episodes 10

The gate compares answers to the same question. In a loop each answer decides the next question, so rounding may
grow, where contacts or a chaotic robot let it. Both sides get the same resets and the same noise; told are the
first tick at which their actions differ by more than a tolerance, and what each of them achieved. To part late is
no error; to part at once is one, and so are scores far from each other.
"""

import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import tyro
from numpy.typing import NDArray
from rich.console import Console

from odeploy_export.parity.gate import Exportable, reference
from odeploy_runtime.errors import ContractError, OdeployError, UsageError
from odeploy_runtime.inference.noise import NoiseSource
from odeploy_runtime.inference.onnx_policy import OnnxPolicy
from odeploy_runtime.signals import half_ranges
from odeploy_sim.catalogue import get
from odeploy_sim.tasks.env import TaskEnv, episode_seed
from odeploy_sim.tasks.task import Task
from odeploy_train.runs.folder import load_policy

TOLERANCE = 1e-3
"""From which difference of actions on unit scale two episodes count as parted."""


@dataclass(frozen=True)
class Config:
    """Plays a policy file and the training run that it came from against each other."""

    file: Annotated[Path, tyro.conf.Positional]
    """A policy file."""
    run: Path
    """The training run's folder."""
    episodes: int = 10
    """Of each side, in lockstep."""
    seed: int = 1
    """Decides resets and noise."""
    provider: str = "cpu"
    """Execution provider of the file: `cpu`, `cuda`, `tensorrt` or `openvino`."""


@dataclass(frozen=True)
class ClosedLoop:
    """Episodes played by torch and by the file, in pairs.

    Attributes:
        tolerance: on unit-scale actions.
        seed: of resets and noise.
        ticks: that both played, of each episode.
        parted: first tick at which the actions differed by more than the tolerance; None where they never did.
        torch: what torch achieved in each episode, by the task's score.
        onnx: what the file achieved.
        provider: ONNX Runtime's name of what computed the file.
    """

    tolerance: float
    seed: int
    ticks: tuple[int, ...]
    parted: tuple[int | None, ...]
    torch: tuple[float, ...]
    onnx: tuple[float, ...]
    provider: str

    def __str__(self) -> str:
        ticks = [tick for tick in self.parted if tick is not None]
        first = f", first at tick {min(ticks)}" if ticks else ""
        return (
            f"{len(ticks)} of {len(self.parted)} episodes part by more than {self.tolerance:g}{first}; "
            f"score {np.mean(self.torch):.4g} by torch, {np.mean(self.onnx):.4g} by {self.provider}"
        )


def compare(
    policy: Exportable, file: OnnxPolicy, task: Task, episodes: int, seed: int = 1, tolerance: float = TOLERANCE
) -> ClosedLoop:
    """Plays the episodes side by side; after a pair has parted each goes on to its own end.

    Raises:
        ContractError: a recurrent policy, whose state torch's side would have to carry.
        UsageError: no episodes.
    """
    if episodes < 1:
        raise UsageError(where="--episodes", expected="at least one", got=str(episodes), remedy="change it")
    if file.manifest.state_size:
        raise ContractError(
            where=file.manifest.name,
            expected="a policy without a state",
            got="a recurrent one",
            remedy="trust its gate, which plays sequences",
        )
    act, noise = reference(policy, file.manifest.sampler, torch.float32), NoiseSource(file.manifest.noise, seed)
    A, scale = len(task.action), half_ranges(task.action)

    def by_torch(observation: NDArray[np.float32], draw: NDArray[np.float32]) -> NDArray[np.float32]:
        action: NDArray[np.float32] = act(observation[None], draw)[0, :A].astype(np.float32)
        return action

    def by_file(observation: NDArray[np.float32], draw: NDArray[np.float32]) -> NDArray[np.float32]:
        action: NDArray[np.float32] = file.infer(observation, draw)[0].copy()
        return action

    ticks, parted, scores = [], [], []
    with closing(TaskEnv(task)) as left, closing(TaskEnv(task)) as right:
        for episode in range(episodes):
            sides = [_Side(env, episode_seed(seed, episode)) for env in (left, right)]
            shared, tick, first = 0, 0, None
            while not all(side.done for side in sides):
                draw = noise.draw(episode, tick)
                actions = [
                    None if side.done else side.play(answer(side.observation, draw))
                    for side, answer in zip(sides, (by_torch, by_file), strict=True)
                ]
                if actions[0] is not None and actions[1] is not None:
                    shared += 1
                    if first is None and np.abs((actions[0] - actions[1]) / scale).max() > tolerance:
                        first = tick
                tick += 1
            ticks.append(shared)
            parted.append(first)
            scores.append([side.score for side in sides])
    torch_scores, onnx_scores = zip(*scores, strict=True)
    return ClosedLoop(tolerance, seed, tuple(ticks), tuple(parted), torch_scores, onnx_scores, file.provider)


class _Side:
    """One of the two in one episode."""

    def __init__(self, env: TaskEnv, seed: int) -> None:
        self._env, self.observation, self.done, self.score = env, env.reset(seed), False, 0.0

    def play(self, action: NDArray[np.float32]) -> NDArray[np.float32]:
        step = self._env.step(action)
        self.observation, self.done = step.observation, step.done
        by_success = self._env.task.scored_by == "success"
        self.score = float(step.success) if by_success else self.score + step.reward
        return action


def main() -> None:
    """Prints one line."""
    config = tyro.cli(Config, prog="python -m odeploy_export.parity.closed_loop")
    torch.set_num_threads(1)  # several spin at their barriers: beside a busy process 30 times as slow
    file = OnnxPolicy.load(config.file, config.provider)
    if file.manifest.state_size:
        Console().print("closed loop: not run (a recurrent policy; its gate plays sequences)", highlight=False)
        return
    policy, card = load_policy(config.run)
    if card.method != file.manifest.method:
        raise ContractError(
            where=str(config.run),
            expected=f"a run of {file.manifest.method}",
            got=card.method,
            remedy="give the run that the file was exported from",
        )
    agreement = compare(policy, file, get(file.manifest.task), config.episodes, config.seed)
    Console().print(f"closed loop: {agreement}", highlight=False, soft_wrap=True)


if __name__ == "__main__":
    try:
        main()
    except OdeployError as error:
        sys.exit(str(error))
