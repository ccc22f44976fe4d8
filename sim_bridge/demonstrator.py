"""Who shows a task: its scripted expert, its trained one, or any policy file."""

import hashlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from runtime.chunk import ChunkOptions
from runtime.errors import MissingError
from sim_bridge.card import ExpertCard
from sim_bridge.experts import EXPERTS, Expert
from sim_bridge.task import TaskEnv
from sim_bridge.trained import trained


@dataclass(frozen=True)
class Demonstrator:
    """An expert, for collecting.

    Attributes:
        card: who it is.
        begin: the expert for the episode of that number, as new; the environment has just been reset.
    """

    card: ExpertCard
    begin: Callable[[int], Expert]


def demonstrator(
    env: TaskEnv, policy: Path | None, seed: int, options: ChunkOptions | None = None
) -> Demonstrator:
    """The policy file if one is given, else the task's scripted expert, else its trained one.

    Args:
        env: what it is to act in.
        policy: a policy file.
        seed: of a policy's noise.
        options: how a policy's chunks are played; if not given, each tick is asked for.

    Raises:
        MissingError: the task has no expert, and no file is given.
        ContractError: the policy has other signals than the task.
    """
    task = env.task
    if policy is None and task.name in EXPERTS:
        return _script(env)
    file = policy or trained(task)
    if file is None:
        raise MissingError(
            where=f"task {task.name}",
            expected="a scripted expert, or a trained one that comes with odeploy",
            got="neither",
            remedy=f"make one (odeploy train expert --task {task.name}) and give its file with --policy FILE",
        )
    from sim_bridge.player import player  # scripts need no onnxruntime

    return player(file, task, seed, options or ChunkOptions())


def _script(env: TaskEnv) -> Demonstrator:
    make = EXPERTS[env.task.name]
    source = inspect.getsourcefile(make)
    assert source is not None
    fingerprint = hashlib.sha256(Path(source).read_bytes()).hexdigest()
    card = ExpertCard("scripted", getattr(make, "__name__", str(make)), fingerprint)
    return Demonstrator(card, lambda _episode: make(env))
