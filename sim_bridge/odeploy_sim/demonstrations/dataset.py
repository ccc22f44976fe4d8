"""Demonstrations as a Minari dataset, in the environment's own observation format.

A dataset is addressed by the path of its folder, or by its id in Minari's store or on the internet. A dataset of
`odeploy collect` has a card beside the data; others load without one.
"""

import hashlib
import os
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import minari
import numpy as np
from minari.data_collector.episode_buffer import EpisodeBuffer
from numpy.typing import NDArray

from odeploy_runtime.atomic_file import unwritable
from odeploy_runtime.errors import ContractError, MissingError, OdeployError, UsageError
from odeploy_runtime.regular_file import DATA_BYTES, require_regular
from odeploy_sim.demonstrations.card import Card
from odeploy_sim.demonstrations.minari_folder import write_dataset
from odeploy_sim.own_tasks.named import StoredTask, require_same
from odeploy_sim.tasks.env import TaskEnv
from odeploy_sim.tasks.task import RawObservation, Task


@dataclass(frozen=True)
class Episode:
    """One recorded episode of T ticks.

    Attributes:
        observations: T + 1 raw observations of the environment, not flattened.
        actions: as executed. Shape (T, A).
        rewards: the environment's own. Shape (T,).
        terminated: whether the task ended it, rather than the horizon.
        success: whether the task was solved at its end.
        seed: seed of its reset.
    """

    observations: Sequence[RawObservation]
    actions: NDArray[np.float32]
    rewards: NDArray[np.float64]
    terminated: bool
    success: bool
    seed: int


@dataclass(frozen=True)
class Demonstrations:
    """A loaded dataset with flat observations.

    Attributes:
        observations: observations of all ticks that have an action. Shape (M, O).
        actions: their actions. Shape (M, A).
        starts: index of each episode's first tick. Shape (episodes,).
        data_hash: SHA-256 of observations and actions, for provenance.
        returns: return of each episode. Shape (episodes,).
        successes: whether each ended solved. Shape (episodes,). None if the dataset does not record it, or the
            task is scored by its return.
    """

    observations: NDArray[np.float32]
    actions: NDArray[np.float32]
    starts: NDArray[np.int64]
    data_hash: str
    returns: NDArray[np.float64]
    successes: NDArray[np.bool_] | None

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Number of ticks of each episode. Shape (episodes,)."""
        return np.diff(self.starts, append=len(self.actions))


def save(
    path: Path,
    env: TaskEnv,
    episodes: Sequence[Episode],
    author: str,
    description: str,
    card: Card | None = None,
) -> None:
    """Write a dataset, and its card if it has one, atomically to `path`.

    Raises:
        UsageError: Minari does not accept the folder's name, the folder exists already, or the disk is full.
    """
    check_free(path)
    buffers = [
        EpisodeBuffer(
            id=i,
            seed=e.seed,
            observations=_stack(e.observations),
            actions=e.actions,
            rewards=list(e.rewards),
            terminations=[*[False] * (len(e.rewards) - 1), e.terminated],
            truncations=[*[False] * (len(e.rewards) - 1), not e.terminated],
            infos={"success": np.array([*[False] * len(e.rewards), e.success])},
        )
        for i, e in enumerate(episodes)
    ]
    try:
        write_dataset(path.resolve(), env, buffers, author, description, card)  # Minari doubles a relative path
    except (OSError, RuntimeError) as error:  # HDF5 raises both for a full disk
        raise unwritable(path, error) from None


def load(source: str, task: Task) -> Demonstrations:
    """Load a dataset and flatten it to the task's signals.

    Args:
        source: path of a dataset's folder, or a Minari id (downloaded if the store lacks it).
        task: task that the dataset must fit.

    Raises:
        MissingError: neither a folder nor an available id.
        ContractError: recorded for another task, or of other sizes.
    """
    dataset = _open(source)
    stored = _stored(source, dataset)
    if stored is not None and stored.name != task.name:
        raise ContractError(
            where=f"demonstrations {source}",
            expected=f"episodes of task {task.name}",
            got=f"episodes of {stored.name}",
            remedy=f"collect some: odeploy collect {task.argument}",
        )
    if stored is not None:
        require_same(stored, task)
    observations: list[NDArray[np.float32]] = []
    actions: list[NDArray[np.float32]] = []
    returns: list[float] = []
    successes: list[bool] = []
    for episode in dataset.iterate_episodes():
        try:
            observations.append(task.flatten(episode.observations)[: len(episode.actions)])
        except KeyError as error:
            raise _misfit(source, task, f"observations without the key {error}") from None
        actions.append(np.asarray(episode.actions, np.float32))
        returns.append(float(np.sum(episode.rewards)))
        successes += [
            bool(np.ravel(ticks)[-1]) for ticks in [(episode.infos or {}).get("success")] if ticks is not None
        ]
    if sum(len(a) for a in actions) == 0:
        raise _misfit(source, task, "no episodes")
    flat, commands = np.concatenate(observations), np.concatenate(actions)
    if (flat.shape[1], commands.shape[1]) != (len(task.observation), len(task.action)):
        raise _misfit(source, task, f"{flat.shape[1]} observations and {commands.shape[1]} actions")
    for values, names in ((flat, task.observation_names), (commands, task.action_names)):
        if not np.isfinite(values).all():
            row, column = np.argwhere(~np.isfinite(values))[0]
            raise _misfit(source, task, f"{values[row, column]} in row {row}, signal {names[column]}")
    return Demonstrations(
        observations=flat,
        actions=commands,
        starts=np.cumsum([0, *(len(a) for a in actions[:-1])]),
        data_hash=data_hash(flat, commands),
        returns=np.array(returns),
        successes=np.array(successes) if task.success_key and len(successes) == len(actions) else None,
    )


def flatten(task: Task, episodes: Sequence[Episode]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return observations (M, O) and actions (M, A) of all ticks with an action."""
    flat = [task.flatten(_stack(e.observations))[:-1] for e in episodes]
    return np.concatenate(flat), np.concatenate([e.actions for e in episodes])


def data_hash(observations: NDArray[np.float32], actions: NDArray[np.float32]) -> str:
    """Return SHA-256 of the bytes of both."""
    return hashlib.sha256(observations.tobytes() + actions.tobytes()).hexdigest()


def check_free(path: Path) -> None:
    """Reject a path that `save` could not write, before an hour of collecting."""
    name = re.fullmatch(r"([-\w]+)-v(\d+)", path.name)
    if name is None:
        raise UsageError(
            where=f"--out {path}",
            expected="a folder name of letters, digits, - and _ that ends in a version, as Minari has it",
            got=path.name,
            remedy=f"name it {re.sub('[^-_a-zA-Z0-9]', '_', path.stem.removesuffix('-v0'))}-v0",
        )
    if path.exists():
        raise UsageError(
            where=f"--out {path}",
            expected="a path that is free",
            got="a dataset that exists",
            remedy=f"remove it, or write {name[1]}-v{int(name[2]) + 1}",
        )
    there = next(parent for parent in path.absolute().parents if parent.exists())
    if not (there.is_dir() and os.access(there, os.W_OK)):
        raise UsageError(
            where=f"--out {path}",
            expected="a place where a folder can be made",
            got=f"{there}, where none can",
            remedy="choose another place",
        )


def stored_task(source: str) -> StoredTask | None:
    """Return what a dataset stores of its task; None for one of another program."""
    return _stored(source, _open(source))


def _stored(source: str, dataset: Any) -> StoredTask | None:
    metadata = dataset.storage.metadata
    if "odeploy_task" not in metadata:
        return None
    name, digest = metadata["odeploy_task"], metadata.get("odeploy_task_digest", "")
    return StoredTask(f"demonstrations {source}", name, digest)


def _open(source: str) -> Any:
    if Path(source).is_dir():
        if not (Path(source) / "data").is_dir():
            raise MissingError(
                where=f"demonstrations {source}",
                expected="a Minari dataset's folder",
                got="a folder without data",
                remedy="give the path that `odeploy collect` printed",
            )
        return minari.MinariDataset(_regular(Path(source).resolve() / "data"))
    try:
        if Path(source).exists():
            raise NotADirectoryError("something else than a folder")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return minari.load_dataset(source, download=True)
    except Exception as error:  # noqa: BLE001 - no such id, no network, no client library: the same error
        raise MissingError(
            where=f"demonstrations {source}",
            expected="a dataset's folder, or the id of one that Minari can download",
            got=f"neither ({str(error).splitlines()[0] if str(error) else type(error).__name__})",
            remedy="give the path that `odeploy collect` printed",
        ) from None


def _regular(data: Path) -> Path:
    """Return the folder of a dataset's files, which are regular ones."""
    try:
        for file in data.iterdir():
            require_regular(file, DATA_BYTES)
    except OSError as error:
        raise MissingError(
            where=f"demonstrations {error.filename}",
            expected="a file of a Minari dataset",
            got=error.strerror or type(error).__name__,
            remedy="copy the dataset again",
        ) from None
    return data


def _stack(observations: Sequence[Any]) -> Any:
    """Stack an episode's observations key by key, through nested dictionaries."""
    first = observations[0]
    if isinstance(first, Mapping):
        return {key: _stack([o[key] for o in observations]) for key in first}
    return np.stack(observations)


def _misfit(source: str, task: Task, got: str) -> OdeployError:
    return ContractError(
        where=f"demonstrations {source}",
        expected=f"{len(task.observation)} observations and {len(task.action)} actions a tick, all finite",
        got=got,
        remedy=f"collect some: odeploy collect {task.argument}",
    )
