"""Writing of a Minari dataset's folder."""

import contextlib
import errno
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import minari
import numpy as np
from minari.data_collector.episode_buffer import EpisodeBuffer

from odeploy_runtime.typed_json import to_json
from odeploy_sim.demonstrations.card import CARD, Card
from odeploy_sim.tasks.env import TaskEnv

_BYTES_AN_EPISODE = 1 << 14  # of HDF5's own, beside the numbers


def write_dataset(
    path: Path, env: TaskEnv, buffers: list[EpisodeBuffer], author: str, description: str, card: Card | None
) -> None:
    """Write a dataset's folder; it appears whole or not at all.

    Raises:
        OSError, RuntimeError: the disk is full, or Minari or HDF5 fails.
    """
    task = env.task
    own = task.reference is not None or task.make is not None  # its specification would name the user's code
    path.parent.mkdir(parents=True, exist_ok=True)
    numbers = sum(_bytes(vars(buffer)) for buffer in buffers)
    if shutil.disk_usage(path.parent).free < numbers + _BYTES_AN_EPISODE * len(buffers):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # HDF5 would crash the process
    with (
        tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}-") as scratch,
        _minari_store(scratch),
    ):
        with warnings.catch_warnings():  # that the evaluation environment is the collecting one, which is intended
            warnings.simplefilter("ignore")
            dataset = minari.create_dataset_from_buffers(
                path.name,
                buffers,
                env=None if own else env.env,
                observation_space=env.env.observation_space,
                action_space=env.env.action_space,
                algorithm_name=author,
                author="odeploy",
                author_email="none",
                code_permalink="none",
                description=description,
            )
        dataset.storage.update_metadata({"odeploy_task": task.name, "odeploy_task_digest": task.digest})
        if card is not None:
            (Path(scratch) / path.name / CARD).write_text(to_json(card))
        shutil.move(Path(scratch) / path.name, path)


def _bytes(value: Any) -> int:
    """Return the size of all numbers in nested dictionaries, arrays and lists."""
    if isinstance(value, Mapping):
        return sum(map(_bytes, value.values()))
    return int(np.asarray(value).nbytes) if isinstance(value, np.ndarray | list) else 0


@contextlib.contextmanager
def _minari_store(path: str) -> Iterator[None]:
    """Point Minari to a store by its environment variable, for a while."""
    before = os.environ.get("MINARI_DATASETS_PATH")
    os.environ["MINARI_DATASETS_PATH"] = path
    try:
        yield
    finally:
        if before is None:
            del os.environ["MINARI_DATASETS_PATH"]
        else:
            os.environ["MINARI_DATASETS_PATH"] = before
