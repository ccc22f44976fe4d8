"""A replay buffer on preallocated arrays; new transitions replace the oldest.

Observations are stored in raw units and normalised when sampled, by the normaliser of that moment. The file beside
a checkpoint is a compressed .npz: arrays alone, nothing that could be executed.
"""

import io
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from odeploy_runtime.atomic_file import write_whole
from odeploy_runtime.errors import FormatError
from odeploy_runtime.regular_file import DATA_BYTES, read_regular

REPLAY = "replay.npz"
_FIELDS = ("observation", "action", "reward", "following", "terminated", "span")
_IMPROVED = "improved"


@dataclass(frozen=True)
class Transitions:
    """B transitions of one or several ticks, in any order.

    Attributes:
        observation: observation before the first tick. Shape (B, O).
        action: action of the first tick, in unit scale. Shape (B, D).
        reward: discounted sum of the ticks' rewards. Shape (B,).
        following: observation after the last tick; the episode's last one if it ended there. Shape (B, O).
        terminated: 1 where the task ended the episode; 0 where it was truncated. Shape (B,).
        span: number of ticks. Shape (B,).
        improved: better action by the actor, if such are stored; what it writes here goes back into the buffer.
            Shape (B, D).
        index: positions in the buffer, for that. Shape (B,).
    """

    observation: Tensor
    action: Tensor
    reward: Tensor
    following: Tensor
    terminated: Tensor
    span: Tensor
    improved: Tensor | None = None
    index: Tensor | None = None


class Replay:
    """The latest transitions, up to a capacity.

    Args:
        capacity: number of transitions; memory is allocated as it fills.
        observation_size: O.
        action_size: D.
        improvable: whether a second action is stored with each transition. It begins as the same action; an actor
            may replace it, while the critics learn from the first.
    """

    def __init__(
        self, capacity: int, observation_size: int, action_size: int, *, improvable: bool = False
    ) -> None:
        O, D = (observation_size,), (action_size,)  # noqa: E741
        sizes = {"observation": O, "action": D, "following": O, _IMPROVED: D}
        names = (*_FIELDS, _IMPROVED) if improvable else _FIELDS
        self._arrays = {name: np.zeros((capacity, *sizes.get(name, ())), np.float32) for name in names}
        self.capacity, self._count, self._next = capacity, 0, 0

    def __len__(self) -> int:
        return self._count

    def add(
        self,
        observation: NDArray[np.float32],
        action: NDArray[np.float32],
        reward: NDArray[np.floating[Any]],
        following: NDArray[np.float32],
        terminated: NDArray[Any],
        span: NDArray[np.float32],
    ) -> None:
        """Add n transitions, at most the capacity; shapes as in `Transitions`."""
        n = len(reward)
        index = (self._next + np.arange(n)) % self.capacity
        values = observation, action, reward, following, terminated, span, action
        for array, value in zip(self._arrays.values(), values, strict=False):  # the last only if stored
            array[index] = value
        self._next, self._count = (self._next + n) % self.capacity, min(self._count + n, self.capacity)

    def draw(self, count: int, generator: torch.Generator) -> Transitions:
        """Sample transitions uniformly, with replacement."""
        index = torch.randint(self._count, (count,), generator=generator)
        drawn = {name: torch.from_numpy(array[index.numpy()]) for name, array in self._arrays.items()}
        return Transitions(**drawn, index=index)

    def take_back(self, index: Tensor, improved: Tensor) -> None:
        """Store better actions for sampled transitions. Shapes (B,), (B, D)."""
        self._arrays[_IMPROVED][index.numpy()] = improved.numpy()

    def save(self, folder: Path) -> None:
        """Write all transitions, oldest first."""
        order = (self._next - self._count + np.arange(self._count)) % self.capacity
        data = io.BytesIO()
        arrays: dict[str, Any] = {name: array[order] for name, array in self._arrays.items()}
        np.savez_compressed(data, **arrays)
        write_whole(folder / REPLAY, data.getvalue())

    def load(self, folder: Path) -> None:
        """Load what `save` wrote, if anything.

        Raises:
            FormatError: the file is damaged, or from another task or capacity.
        """
        path = folder / REPLAY
        if not path.exists():
            return
        try:
            with np.load(io.BytesIO(read_regular(path, DATA_BYTES)), allow_pickle=False) as saved:
                arrays = {name: saved[name] for name in self._arrays}
            count = len(arrays["reward"])
            for name, array in self._arrays.items():
                array[:count] = arrays[name]
        except (KeyError, ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise FormatError(
                where=str(path),
                expected="the replay that this run saved",
                got=f"a file that does not load or fit ({type(error).__name__})",
                remedy="remove this file: the run continues with an empty replay buffer",
            ) from None
        self._count, self._next = count, count % self.capacity
