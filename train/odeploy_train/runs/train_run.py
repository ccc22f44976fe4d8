"""The body of every `odeploy train` verb: begin or continue a run, and train."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol

import torch
from rich.console import Console

from odeploy_sim.tasks.task import Task
from odeploy_train.policies.kinds import PolicyConfig
from odeploy_train.runs.folder import Method, Options, begin, new_card


class ThreadedOptions(Options, Protocol):
    """What the config of every verb has."""

    @property
    def threads(self) -> int:
        """Threads of torch."""


class Training(Protocol):
    """A training with its current position."""

    @property
    def step(self) -> int:
        """Steps taken so far."""

    def finished(self) -> bool:
        """Return whether no step is missing."""

    def resume(self) -> None:
        """Restore the checkpoint of the run folder, if there is one."""

    def train(self, console: Console) -> None:
        """Take the missing steps; write checkpoints and curves."""


def train_run(
    method: Method,
    config: ThreadedOptions,
    task: Task,
    sizes: PolicyConfig,
    start: Callable[[], AbstractContextManager[Training]],
    *,
    data_hash: str | None = None,
    teacher: dict[str, Any] | None = None,
) -> None:
    """Begin a run or continue it, and print its folder.

    Args:
        method: name of the verb.
        config: options of the verb, already checked.
        task: the task that the options name.
        sizes: sizes of the deployed policy.
        start: makes the training at step 0; left when the run ends.
        data_hash: hash of the demonstrations, if there are any.
        teacher: provenance of a policy that the training starts from or imitates.

    Raises:
        UsageError: the folder holds another run or other files.
        FormatError: the checkpoint does not load.
        KeyboardInterrupt: interrupted; the checkpoint is written.
    """
    console = Console()
    torch.set_num_threads(config.threads)
    begin(config.out, new_card(method, task.name, data_hash, config, sizes, teacher, task.digest))
    with start() as training:
        training.resume()
        if training.finished():
            console.print(f"finished already, at step {training.step}")
        else:
            training.train(console)
    console.print(f"run: {config.out}", soft_wrap=True)
