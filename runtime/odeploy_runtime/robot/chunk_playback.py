"""Chunks in the loop: which action of which chunk is applied at a tick.

A policy of horizon H answers the observation of tick q with the actions for the ticks q to q + H - 1. The robot
asks every E ticks and plays of each chunk the action that is meant for the tick, so a chunk that comes D ticks
late begins with its action D. Until then the chunk before goes on: of each, E + D actions may be played. With
E = 1 and D = 0 every tick is asked for, and the first action of its own answer is all that it plays.

Where chunks overlap they can be blended, as ACT's temporal ensembling does (arXiv 2304.13705): the action of a
tick is then the mean over all chunks that have one for it, with weights exp(-m · age), the age of a chunk in
ticks. ACT counts from the oldest chunk and lets that weigh most: its k is -m here.

No clock and no I/O: ticks are numbers.
"""

import math
from dataclasses import dataclass
from typing import Generic, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from odeploy_runtime.errors import UsageError


class Chunk(Protocol):
    """An answer of the policy."""

    @property
    def tick(self) -> int:
        """Whose observation it answers."""

    @property
    def values(self) -> NDArray[np.float32]:
        """Action i is meant for `tick` + i. Shape (H, A)."""


C = TypeVar("C", bound=Chunk)


@dataclass(frozen=True)
class Chunking:
    """How chunks are played.

    Attributes:
        horizon: H.
        execute: E, ticks from one question to the next.
        ahead: D, ticks that an answer may take.
        blend: m of the weights; None for the newest chunk alone.
    """

    horizon: int = 1
    execute: int = 1
    ahead: int = 0
    blend: float | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.execute <= self.horizon:
            raise UsageError(
                where="--execute",
                expected=f"from 1 to {self.horizon}, the actions that the policy answers at once",
                got=str(self.execute),
                remedy="execute fewer, or train with a longer --horizon",
            )
        if not 0 <= self.ahead <= self.horizon - self.execute:
            raise UsageError(
                where="--ahead",
                expected=f"from 0 to {self.horizon - self.execute}, what --execute {self.execute} of a chunk of "
                f"{self.horizon} leaves",
                got=str(self.ahead),
                remedy="ask for less, or execute fewer",
            )
        if self.blend is not None and not math.isfinite(self.blend):
            raise UsageError(
                where="--blend", expected="a finite number", got=f"{self.blend:g}", remedy="give for example 0.1"
            )

    @property
    def reach(self) -> int:
        """E + D, actions of a chunk that may be played."""
        return self.execute + self.ahead


@dataclass(frozen=True, kw_only=True)
class ChunkOptions:
    """The options of a program that plays chunks."""

    execute: int = 1
    """E: ask the policy every E ticks and play as many actions of each answer; at most its horizon H."""
    ahead: int | None = None
    """D: ask D ticks before the answer is needed, and play the chunk before until it comes; E + D is at most H.
    In realtime 1 if not given, where E > 1 leaves room for it, else 0. In lockstep an answer takes D ticks."""
    blend: float | None = None
    """m: where chunks overlap, play their mean with weights exp(-m · age in ticks) instead of the newest. The
    temporal ensembling of ACT is `--execute 1 --blend -0.01`."""

    def chunking(self, horizon: int, paced: bool) -> Chunking:
        """These options for a policy.

        Raises:
            UsageError: its horizon is too short for them.
        """
        usual = min(1, max(0, horizon - self.execute)) if paced and self.execute > 1 else 0
        return Chunking(horizon, self.execute, usual if self.ahead is None else self.ahead, self.blend)

    def given(self) -> list[str]:
        """The same for a command line; nothing where they say nothing."""
        values = {
            "--execute": self.execute if self.execute != 1 else None,
            "--ahead": self.ahead,
            "--blend": self.blend,
        }
        return [part for name, value in values.items() if value is not None for part in (name, str(value))]


class Played(NamedTuple, Generic[C]):
    """The action of a tick.

    Attributes:
        values: Shape (A,).
        chunk: that it is from; of a blend the newest.
        place: i, its place in that chunk.
    """

    values: NDArray[np.float32]
    chunk: C
    place: int


class Chunks(Generic[C]):
    """The chunks of an episode, as far as they are still of use.

    Attributes:
        chunking: how they are played.
    """

    def __init__(self, chunking: Chunking) -> None:
        self.chunking = chunking
        self.begin()

    def begin(self) -> None:
        """A new episode: nothing was asked, and what has come is not to be played any more."""
        self._first, self._asked = math.inf, -math.inf  # ticks that asked
        self._chunks: list[tuple[int, C]] = []  # by tick; with the first tick that may play it
        self._starved = False

    def asks(self, tick: int) -> bool:
        """Whether this tick's observation is sent; if so, it counts as sent.

        Every E ticks; sooner where nothing can be played and the answer is overdue.
        """
        since = tick - self._asked
        if since >= self.chunking.execute or (self._starved and since > self.chunking.ahead):
            self._first, self._asked = min(self._first, tick), tick
            return True
        return False

    def covers(self, tick: int) -> bool:
        """Whether a chunk is there that may be played at this tick."""
        return any(ready <= tick < chunk.tick + self.chunking.reach for ready, chunk in self._chunks)

    def awaited(self, tick: int) -> int:
        """The earliest tick whose answer this tick could play, and that has not come."""
        newest = self._chunks[-1][1].tick if self._chunks else -1
        return max(0, tick - self.chunking.reach + 1, newest + 1)

    def take(self, chunk: C) -> None:
        """A chunk has come; none comes after one of a later tick. What was not asked since `begin` is dropped."""
        if self._first <= chunk.tick <= self._asked:
            self._chunks.append((chunk.tick, chunk))

    def take_in_virtual_time(self, chunk: C) -> None:
        """The same where nothing takes time: it may be played after D ticks, or at once if there is no other."""
        delay = self.chunking.ahead if self.covers(chunk.tick) else 0
        self._chunks.append((chunk.tick + delay, chunk))

    def at(self, tick: int) -> Played[C] | None:
        """The action of a tick; None if no chunk has one."""
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
    """exp(-m · age) of each chunk, scaled so that they sum to one. Shapes (N,) -> (N,)."""
    exponents = -blend * ages.astype(np.float64)
    weights = np.exp(exponents - exponents.max())  # the largest is 1, so none overflows
    scaled: NDArray[np.float64] = weights / weights.sum()
    return scaled
