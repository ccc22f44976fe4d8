"""Playing a policy without a loop: an observation in, an action out.

Nothing is paced or guarded here; `odeploy_runtime.robot.run` does that.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from odeploy_runtime.errors import ContractError
from odeploy_runtime.robot.chunk_playback import Chunking, Chunks


class Answer(NamedTuple):
    """A chunk of a policy, see `odeploy_runtime.robot.chunk_playback.Chunk`."""

    tick: int
    values: NDArray[np.float32]


class Player(ABC):
    """A policy with its state: noise, history, recurrent state and chunk.

    Attributes:
        observation: names of the observation's R signals, in order.
    """

    def __init__(self, observation: Sequence[str], chunking: Chunking) -> None:
        self.observation = tuple(observation)
        self._chunks = Chunks[Answer](chunking)
        self._episode = -1
        self.reset()

    def reset(self, episode: int | None = None) -> None:
        """Begin the next episode, or the one of a number; the number decides its noise."""
        self._episode = self._episode + 1 if episode is None else episode
        self._tick = 0
        self._chunks.begin()

    def act(self, observation: ArrayLike) -> NDArray[np.float32]:
        """Return the action of the next tick. Shapes (R,) -> (A,).

        The policy answers only ticks whose action is in no earlier chunk.

        Raises:
            ContractError: not R finite numbers.
        """
        sensed, tick = self._checked(observation), self._next()
        if self._chunks.requests(tick):
            self._chunks.take_in_virtual_time(Answer(tick, self._answer(self._episode, tick, sensed)))
        played = self._chunks.at(tick)
        assert played is not None  # each answer is there at once
        return played.values

    def infer(self, observation: ArrayLike) -> NDArray[np.float32]:
        """Return the whole chunk of the next tick. Shapes (R,) -> (H, A).

        Raises:
            ContractError: not R finite numbers.
        """
        return self._answer(self._episode, self._next(), self._checked(observation))

    @abstractmethod
    def _answer(self, episode: int, tick: int, sensed: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return a chunk that stays valid. Shapes (R,) -> (H, A)."""

    def _next(self) -> int:
        tick, self._tick = self._tick, self._tick + 1
        return tick

    def _checked(self, observation: ArrayLike) -> NDArray[np.float32]:
        sensed = np.asarray(observation, np.float32)
        if sensed.shape != (len(self.observation),):
            raise ContractError(
                where="observation",
                expected=f"{len(self.observation)} numbers, {self.observation[0]} to {self.observation[-1]}",
                got=f"an array of shape {sensed.shape}",
                remedy="pass one observation, its signals in this order",
            )
        if not np.isfinite(sensed).all():
            name = self.observation[int(np.argmin(np.isfinite(sensed)))]
            raise ContractError(
                where=f"observation, signal {name}",
                expected="a finite number",
                got="NaN or infinity",
                remedy="check the sensor",
            )
        return sensed
