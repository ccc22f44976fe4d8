"""A vector with simulations in worker processes, and the worker's program.

Numbers pass through shared memory. A signal is a byte in a pipe: one round trip with two workers took 19 µs by
pipes, 15 by semaphores, 16 by eventfd, 31 by sockets and 51 by a Connection's framed messages over sockets.
Semaphores and eventfd are a little cheaper, but do not show that the other end is dead.
"""

import contextlib
import os
import select
import signal
from collections.abc import Iterator, Mapping
from ctypes import Array, c_ubyte
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from multiprocessing.sharedctypes import RawArray
from typing import Any

import numpy as np
from numpy.typing import NDArray

from odeploy_runtime.errors import OdeployError, RelayedError, WorkerError
from odeploy_runtime.realtime.child_process import end_worker_with_parent, ending, spawning
from odeploy_sim.tasks.task import Task
from odeploy_sim.tasks.vector_block import Block, row_type
from odeploy_sim.tasks.vector_env import STEP, TaskVectorEnv

DONE = b"d"
LEAVE_S = 5.0
ANSWER_S = 60  # a step takes milliseconds; only a worker that is stopped or hangs takes that long
START_S = 300  # many of them import their packages on few cores


@dataclass(frozen=True, slots=True)
class Worker:
    """A worker process, its two pipes, and a poll of its answers."""

    process: SpawnProcess
    commands: Connection
    answers: Connection
    ready: select.poll

    def is_ready_within(self, limit_s: int) -> bool:
        """Return whether it answers or dies in time.

        Polls by the second: if this process is stopped meanwhile, by Ctrl-Z, only a second of that counts.
        """
        return any(self.ready.poll(1000) for _ in range(limit_s))


class WorkerVectorEnv(TaskVectorEnv):
    """Blocks of simulations in worker processes, over shared memory.

    A step costs one byte in each direction for each worker. Workers end with `close`, and with this process,
    however it dies. Only this process handles Ctrl-C.

    Attributes:
        workers: the processes, each with consecutive environments.
    """

    def __init__(
        self, task: Task, envs: int, seed: int, noise_level: float, arguments: Mapping[str, Any], workers: int
    ) -> None:
        self.workers: list[Worker] = []
        self._awaited: list[Worker] = []
        kind = row_type(task)
        memory = RawArray("B", envs * kind.itemsize)
        super().__init__(task, seed, np.frombuffer(memoryview(memory), kind))
        try:
            with spawning() as context, _interrupts_held():
                for k in range(workers):
                    their_commands, commands = context.Pipe(duplex=False)
                    answers, their_answers = context.Pipe(duplex=False)
                    block = envs * k // workers, envs * (k + 1) // workers
                    given = (task, noise_level, dict(arguments), memory, *block, their_commands, their_answers)
                    process = context.Process(target=work, args=given, daemon=True)
                    process.start()
                    ready = select.poll()
                    ready.register(answers.fileno(), select.POLLIN)
                    self.workers.append(Worker(process, commands, answers, ready))
                    their_commands.close()  # a pipe shows a death only if no other process holds its other end
                    their_answers.close()
            for worker in self.workers:
                self._receive_first(worker)
        except BaseException:
            self.close()
            raise

    def close_extras(self) -> None:
        """End the workers, after the current step."""
        for worker in self.workers:
            worker.commands.close()
            worker.answers.close()
        for worker in self.workers:
            worker.process.join(LEAVE_S)
            if worker.process.is_alive():
                worker.process.kill()
            worker.process.join()

    def _start(self, command: bytes) -> None:
        self._finish()  # nothing is awaited unless Ctrl-C interrupted a reset
        for worker in self.workers:
            try:
                os.write(worker.commands.fileno(), command)
            except BrokenPipeError:
                raise self._died(worker) from None
            self._awaited.append(worker)

    def _finish(self) -> None:
        while self._awaited:
            worker = self._awaited[-1]
            if not worker.is_ready_within(ANSWER_S):
                raise self._silent(worker, ANSWER_S)
            if not os.read(worker.answers.fileno(), 1):
                raise self._died(worker)
            self._awaited.pop()  # only now, so that a wait that Ctrl-C interrupted can be resumed

    def _receive_first(self, worker: Worker) -> None:
        if not worker.is_ready_within(START_S):
            raise self._silent(worker, START_S)
        try:
            problem = worker.answers.recv_bytes()
        except EOFError:
            raise self._died(worker) from None
        if problem:
            raise RelayedError(problem.decode())

    def _silent(self, worker: Worker, limit_s: int) -> WorkerError:
        worker.process.kill()  # it would not notice that its pipe is closed
        self.close()
        return WorkerError(
            where=self._name(worker),
            expected=f"an answer within {limit_s} s",
            got="none",
            remedy="find out whether something stopped it or its simulation hangs; the vector is closed",
        )

    def _died(self, worker: Worker) -> WorkerError:
        worker.process.join(LEAVE_S)
        got = ending(worker.process.exitcode)
        self.close()
        return WorkerError(
            where=self._name(worker),
            expected="an answer",
            got=got,
            remedy="read its output; if it was killed for lack of memory, use fewer workers",
        )

    def _name(self, worker: Worker) -> str:
        return f"worker {self.workers.index(worker)} of {self.num_envs} × {self.task.name}"


def work(
    task: Task,
    noise_level: float,
    arguments: Mapping[str, Any],
    memory: Array[c_ubyte],
    first: int,
    last: int,
    commands: Connection,
    answers: Connection,
) -> None:
    """Run a worker process: step rows `first` to `last` - 1.

    It ends when the other end of `commands` is closed.

    That end is also closed when the process that holds it dies, however it dies, so no worker outlives it. The
    first answer is empty if the simulations were built, otherwise the reason why not.
    """
    end_worker_with_parent()  # also if it hangs in a simulation
    rows: NDArray[np.void] = np.frombuffer(memoryview(memory), row_type(task))
    try:
        block = Block(task, noise_level, arguments, rows[first:last], len(rows))
    except OdeployError as error:
        answers.send_bytes(str(error).encode())
        return
    with contextlib.suppress(BrokenPipeError):  # closed during a step
        answers.send_bytes(b"")
        # Bare bytes, without a Connection's framing; the module's docstring has figures.
        while command := os.read(commands.fileno(), 1):
            block.step() if command == STEP else block.reset()
            os.write(answers.fileno(), DONE)
    block.close()


@contextlib.contextmanager
def _interrupts_held() -> Iterator[None]:
    """Block Ctrl-C while workers start, which inherit the block.

    In this process it is only delayed.
    """
    resource_tracker.ensure_running()  # the first process started would do that, and end the block
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
