"""A thread that executes jobs one after another, for threads that come and go.

A child process ends with the thread that started it, so what starts a lasting one needs a lasting thread.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")


class WorkerThread:
    """Executes jobs in order; a process can end without waiting for it."""

    def __init__(self, name: str) -> None:
        self._jobs: SimpleQueue[tuple[Callable[[], Any], Future[Any]] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def do(self, job: Callable[[], T]) -> T:
        """Execute a job after those before it; return its result, or raise its exception."""
        done: Future[T] = Future()
        self._jobs.put((job, done))
        return done.result()

    def close(self, within_s: float) -> None:
        """End after the jobs so far; wait a while for that."""
        self._jobs.put(None)
        self._thread.join(within_s)

    def _run(self) -> None:
        while (given := self._jobs.get()) is not None:
            job, done = given
            try:
                done.set_result(job())
            except BaseException as error:  # noqa: BLE001 - raised where the job came from
                done.set_exception(error)
