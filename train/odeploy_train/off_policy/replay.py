"""A replay of transitions on arrays that are laid out once: the newest overwrite the oldest.

Observations are kept in raw units and are normalised when they are drawn, by what the normaliser knows then. The
file beside a checkpoint is a compressed .npz: arrays alone, nothing that could be executed.
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

REPLAY = "replay.npz"
_FIELDS = ("observation", "action", "reward", "following", "terminated")
_IMPROVED = "improved"


@dataclass(frozen=True)
class Transitions:
    """B steps of the environment, in any order.

    Attributes:
        observation: before the step. Shape (B, O).
        action: on unit scale. Shape (B, D).
        reward: Shape (B,).
        following: the observation after the step, the last one of an episode if it ended there. Shape (B, O).
        terminated: 1 where the task ended the episode; an episode that was cut goes on in value. Shape (B,).
        improved: an action for the observation that an actor holds to be better, where such are kept; what it
            writes here goes back into the replay. Shape (B, D).
        index: their places in the replay, for that. Shape (B,).
    """

    observation: Tensor
    action: Tensor
    reward: Tensor
    following: Tensor
    terminated: Tensor
    improved: Tensor | None = None
    index: Tensor | None = None


class Replay:
    """The last so many transitions.

    Args:
        capacity: how many; memory is taken as it fills.
        observation_size: O.
        action_size: D.
        improvable: whether a second action is kept with each transition, at first the same, that an actor may
            replace while the critics go on learning from the first.
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
        reward: NDArray[np.float64],
        following: NDArray[np.float32],
        terminated: NDArray[np.bool_],
    ) -> None:
        """Takes n transitions in, at most as many as it holds; shapes as in `Transitions`."""
        n = len(reward)
        index = (self._next + np.arange(n)) % self.capacity
        values = observation, action, reward, following, terminated, action
        for array, value in zip(self._arrays.values(), values, strict=False):  # the last only where it is kept
            array[index] = value
        self._next, self._count = (self._next + n) % self.capacity, min(self._count + n, self.capacity)

    def draw(self, count: int, generator: torch.Generator) -> Transitions:
        """So many transitions, each any of those that are held, with replacement."""
        index = torch.randint(self._count, (count,), generator=generator)
        drawn = {name: torch.from_numpy(array[index.numpy()]) for name, array in self._arrays.items()}
        return Transitions(**drawn, index=index)

    def take_back(self, index: Tensor, improved: Tensor) -> None:
        """Puts better actions in the places of those that were drawn. Shapes (B,), (B, D)."""
        self._arrays[_IMPROVED][index.numpy()] = improved.numpy()

    def save(self, folder: Path) -> None:
        """Writes what is held, oldest first."""
        order = (self._next - self._count + np.arange(self._count)) % self.capacity
        data = io.BytesIO()
        held: dict[str, Any] = {name: array[order] for name, array in self._arrays.items()}
        np.savez_compressed(data, **held)
        write_whole(folder / REPLAY, data.getvalue())

    def load(self, folder: Path) -> None:
        """Takes up what `save` wrote, if there is anything.

        Raises:
            FormatError: the file is damaged, or of another task or capacity.
        """
        path = folder / REPLAY
        if not path.exists():
            return
        try:
            with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as saved:
                arrays = {name: saved[name] for name in self._arrays}
            count = len(arrays["reward"])
            for name, array in self._arrays.items():
                array[:count] = arrays[name]
        except (KeyError, ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise FormatError(
                where=str(path),
                expected="the replay that this run saved",
                got=f"a file that does not load or fit ({type(error).__name__})",
                remedy="remove that file: the run continues with an empty replay",
            ) from None
        self._count, self._next = count, count % self.capacity
