"""Playback of action chunks: which action of which chunk is applied at a tick.

A policy of horizon H answers the observation of tick q with the actions for the ticks q to q + H - 1. The robot
sends an observation every E ticks, and plays of each chunk the action for the current tick. A chunk that arrives D
ticks late thus begins with its action D. Until then the previous chunk continues: up to E + D actions of each are
played. With E = 1 and D = 0 every tick sends its observation and plays the first action of its own answer.

Overlapping chunks can be blended, as in ACT's temporal ensembling (arXiv 2304.13705): the action of a tick is then
the mean over all chunks with an action for it, with weights exp(-m · age), where the age of a chunk is in ticks.
ACT counts from the oldest chunk, which weighs most there: its k is -m here.

No clock and no I/O: ticks are numbers.
"""

import math
from dataclasses import dataclass
from typing import Generic, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from odeploy_runtime.errors import UsageError


class Chunk(Protocol):
    """An answer of the policy: a chunk of actions."""

    @property
    def tick(self) -> int:
        """Tick whose observation it answers."""

    @property
    def values(self) -> NDArray[np.float32]:
        """Actions; action i is for `tick` + i. Shape (H, A)."""


C = TypeVar("C", bound=Chunk)


@dataclass(frozen=True)
class Chunking:
    """How chunks are played.

    Attributes:
        horizon: H.
        execute: E, ticks from one request to the next.
        ahead: D, ticks that an answer may take.
        blend: m of the weights; None to play the newest chunk alone.
    """

    horizon: int = 1
    execute: int = 1
    ahead: int = 0
    blend: float | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.execute <= self.horizon:
            raise UsageError(
                where="--execute",
                expected=f"from 1 to {self.horizon}, the number of actions in the policy's answer",
                got=str(self.execute),
                remedy="execute fewer, or train with a longer --horizon",
            )
        if not 0 <= self.ahead <= self.horizon - self.execute:
            raise UsageError(
                where="--ahead",
                expected=f"from 0 to {self.horizon - self.execute}, what --execute {self.execute} of a chunk of "
                f"{self.horizon} leaves",
                got=str(self.ahead),
                remedy="give less, or execute fewer",
            )
        if self.blend is not None and not math.isfinite(self.blend):
            raise UsageError(
                where="--blend", expected="a finite number", got=f"{self.blend:g}", remedy="give for example 0.1"
            )

    @property
    def reach(self) -> int:
        """E + D, the number of actions of a chunk that may be played."""
        return self.execute + self.ahead


@dataclass(frozen=True, kw_only=True)
class ChunkOptions:
    """Options of a program that plays action chunks."""

    execute: int = 1
    """E: send an observation every E ticks and play E actions of each answer; at most the horizon H."""
    ahead: int | None = None
    """D: send the observation D ticks before its answer is needed, and play the previous chunk until then; E + D
    is at most H. Default: 1 in realtime if 1 < E < H, else 0. In lockstep an answer takes D ticks."""
    blend: float | None = None
    """m: where chunks overlap, play their mean with weights exp(-m · age in ticks) instead of the newest. ACT's
    temporal ensembling is `--execute 1 --blend -0.01`."""

    def chunking(self, horizon: int, paced: bool) -> Chunking:
        """Return how to play the chunks of a policy with this horizon.

        Raises:
            UsageError: the horizon is too short for these options.
        """
        usual = min(1, max(0, horizon - self.execute)) if paced and self.execute > 1 else 0
        return Chunking(horizon, self.execute, usual if self.ahead is None else self.ahead, self.blend)

    def given(self) -> list[str]:
        """Return the options that differ from their defaults as command-line arguments."""
        values = {
            "--execute": self.execute if self.execute != 1 else None,
            "--ahead": self.ahead,
            "--blend": self.blend,
        }
        return [part for name, value in values.items() if value is not None for part in (name, str(value))]


class Played(NamedTuple, Generic[C]):
    """The action of a tick.

    Attributes:
        values: the action. Shape (A,).
        chunk: the chunk that it is from; the newest one of a blend.
        place: its index i in that chunk.
    """

    values: NDArray[np.float32]
    chunk: C
    place: int


class Chunks(Generic[C]):
    """The chunks of an episode that may still be played.

    Attributes:
        chunking: how they are played.
    """

    def __init__(self, chunking: Chunking) -> None:
        self.chunking = chunking
        self.begin()

    def begin(self) -> None:
        """Drop all chunks and requests, as at the start of an episode."""
        self._first, self._requested = math.inf, -math.inf  # ticks that sent an observation
        self._chunks: list[tuple[int, C]] = []  # by tick, each with the first tick that may play it
        self._starved = False

    def requests(self, tick: int) -> bool:
        """Return whether this tick sends its observation; if so, it counts as sent.

        Every E ticks; sooner if nothing can be played and the answer is overdue.
        """
        since = tick - self._requested
        if since >= self.chunking.execute or (self._starved and since > self.chunking.ahead):
            self._first, self._requested = min(self._first, tick), tick
            return True
        return False

    def covers(self, tick: int) -> bool:
        """Return whether there is a chunk that may be played at this tick."""
        return any(ready <= tick < chunk.tick + self.chunking.reach for ready, chunk in self._chunks)

    def awaited(self, tick: int) -> int:
        """Return the earliest tick whose missing answer could be played at this tick."""
        newest = self._chunks[-1][1].tick if self._chunks else -1
        return max(0, tick - self.chunking.reach + 1, newest + 1)

    def take(self, chunk: C) -> None:
        """Add a chunk that arrived, in order of ticks.

        Drop it if it was not requested since `begin`.
        """
        if self._first <= chunk.tick <= self._requested:
            self._chunks.append((chunk.tick, chunk))

    def take_in_virtual_time(self, chunk: C) -> None:
        """Add a chunk where nothing takes time.

        It is played after D ticks, or at once if there is no other.
        """
        delay = self.chunking.ahead if self.covers(chunk.tick) else 0
        self._chunks.append((chunk.tick + delay, chunk))

    def at(self, tick: int) -> Played[C] | None:
        """Return the action of a tick; None if no chunk has one."""
        horizon, blend = self.chunking.horizon, self.chunking.blend
        self._chunks = [(ready, chunk) for ready, chunk in self._chunks if tick < chunk.tick + horizon]
        reach = self.chunking.reach if blend is None else horizon
        there = [chunk for ready, chunk in self._chunks if ready <= tick < chunk.tick + reach]
        self._starved = not there
        if not there:
            return None
        newest = there[-1]
        place = tick - newest.tick
        if blend is None:
            return Played(newest.values[place], newest, place)
        ages = np.array([tick - chunk.tick for chunk in there])
        actions = np.stack([chunk.values[age] for chunk, age in zip(there, ages, strict=True)])
        return Played((blend_weights(ages, blend) @ actions).astype(np.float32), newest, place)


def blend_weights(ages: NDArray[np.int64], blend: float) -> NDArray[np.float64]:
    """Return exp(-m · age) of each chunk, scaled to a sum of one. Shapes (N,) -> (N,)."""
    exponents = -blend * ages.astype(np.float64)
    weights = np.exp(exponents - exponents.max())  # the largest is 1, so none overflows
    scaled: NDArray[np.float64] = weights / weights.sum()
    return scaled
