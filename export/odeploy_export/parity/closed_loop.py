"""Closed loop: torch and the ONNX file play the same episodes until they part.

The parity check compares answers to the same observation. In a loop each answer decides the next observation, so
rounding may grow, where contacts or a chaotic robot let it. Both sides get the same resets and the same noise. The
result has the first tick at which their actions differ by more than a tolerance, and each side's score. To part
late is no error; to part at once is one, and so are scores far from each other.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from odeploy_export.parity.check import Reference
from odeploy_runtime.errors import ContractError, UsageError
from odeploy_runtime.inference.noise import NoiseSource
from odeploy_runtime.inference.onnx_policy import OnnxPolicy
from odeploy_runtime.signals import half_ranges
from odeploy_runtime.typed_json import LEFT_OUT
from odeploy_sim.tasks.env import TaskEnv
from odeploy_sim.tasks.episodes import Act, BrokenEpisodes, RunningEpisode, Trajectory, lockstep, starts
from odeploy_sim.tasks.task import Task

TOLERANCE = 1e-3
"""Difference of actions on unit scale from which two episodes count as parted."""


@dataclass(frozen=True)
class ClosedLoop:
    """Episodes played by torch and by the file, in pairs.

    Attributes:
        tolerance: on unit-scale actions.
        seed: seed of resets and noise.
        ticks: ticks of each episode that both played.
        parted: first tick at which the actions differed by more than the tolerance; None where they never did.
        torch: torch's result in each episode, by the task's score.
        onnx: the file's result.
        provider: ONNX Runtime's name of the provider that ran the file.
        invalid: pairs in which the simulation broke, which others replace; None if there were none.
    """

    tolerance: float
    seed: int
    ticks: tuple[int, ...]
    parted: tuple[int | None, ...]
    torch: tuple[float, ...]
    onnx: tuple[float, ...]
    provider: str
    invalid: int | None = field(default=None, metadata=LEFT_OUT)

    def __str__(self) -> str:
        ticks = [tick for tick in self.parted if tick is not None]
        first = f", first at tick {min(ticks)}" if ticks else ""
        broke = f"; {self.invalid} more broke" if self.invalid else ""
        return (
            f"{len(ticks)} of {len(self.parted)} episodes part by more than {self.tolerance:g}{first}; "
            f"score {np.mean(self.torch):.4g} by torch, {np.mean(self.onnx):.4g} by {self.provider}{broke}"
        )


def compare(
    act: Reference, file: OnnxPolicy, task: Task, episodes: int, seed: int = 1, tolerance: float = TOLERANCE
) -> ClosedLoop:
    """Play a seed's first pairs of episodes in which no simulation breaks.

    After a pair has parted each side goes on to its own end.

    Args:
        act: the policy, computed by torch in float32.
        file: its file.
        task: task to play.
        episodes: number of pairs.
        seed: seed of resets and noise.
        tolerance: on unit-scale actions.

    Raises:
        ContractError: a recurrent policy, whose state torch's side would have to carry; a hundred pairs in a row
            broke.
        UsageError: no episodes.
    """
    if episodes < 1:
        raise UsageError(where="--episodes", expected="at least one", got=str(episodes), remedy="change it")
    if file.manifest.state_size:
        raise ContractError(
            where=file.manifest.name,
            expected="a policy without a state",
            got="a recurrent one",
            remedy="rely on its parity check, which plays sequences",
        )
    noise, A = NoiseSource(file.manifest.noise, seed), len(task.action)

    def by_torch(observation: NDArray[np.float32], draw: NDArray[np.float32]) -> NDArray[np.float32]:
        return act(observation[None], draw)[:, :A].astype(np.float32)

    def by_file(observation: NDArray[np.float32], draw: NDArray[np.float32]) -> NDArray[np.float32]:
        return file.infer(observation, draw)[:1].copy()

    with closing(TaskEnv(task)) as left, closing(TaskEnv(task)) as right:
        pairs, invalid = _valid_pairs(
            lockstep([left], _drawing(by_torch, noise), starts(seed).__next__),
            lockstep([right], _drawing(by_file, noise), starts(seed).__next__),
            BrokenEpisodes(task),
            episodes,
        )
    parted = tuple(_parted(pair, half_ranges(task.action), tolerance) for pair in pairs)
    ticks = tuple(min(len(side.actions) for side in pair) for pair in pairs)
    by_success = task.scored_by == "success"
    scores = [[float(side.success) if by_success else side.total for side in pair] for pair in pairs]
    torch_scores, onnx_scores = zip(*scores, strict=True)
    return ClosedLoop(tolerance, seed, ticks, parted, torch_scores, onnx_scores, file.provider, invalid or None)


_Answer = Callable[[NDArray[np.float32], NDArray[np.float32]], NDArray[np.float32]]
_Pair = tuple[Trajectory, Trajectory]


def _drawing(answer: _Answer, noise: NoiseSource) -> Act:
    """Return a policy that takes the noise of each observation's episode and tick."""

    def act(running: Sequence[RunningEpisode]) -> NDArray[np.float32]:
        (episode,) = running
        return answer(episode.observation, noise.draw(episode.number, episode.tick))

    return act


def _valid_pairs(
    left: Iterator[Trajectory], right: Iterator[Trajectory], broken: BrokenEpisodes, episodes: int
) -> tuple[list[_Pair], int]:
    pairs: list[_Pair] = []
    while len(pairs) < episodes:
        pair = next(left), next(right)
        invalid = any(side.invalid for side in pair)
        broken.add(invalid)
        pairs += [] if invalid else [pair]
    return pairs, broken.count


def _parted(pair: _Pair, scale: NDArray[np.float64], tolerance: float) -> int | None:
    """Return the first tick at which the actions differ beyond the tolerance."""
    ticks = min(len(side.actions) for side in pair)
    gaps = np.abs((pair[0].actions[:ticks] - pair[1].actions[:ticks]) / scale).max(axis=1)
    beyond = np.flatnonzero(gaps > tolerance)
    return int(beyond[0]) if len(beyond) else None
