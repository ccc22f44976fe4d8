"""A trace whose rows another process writes: the loop's end of `odeploy_runtime/trace/writer_process.py`."""

import logging
import os
import signal
import socket
import subprocess
from pathlib import Path
from types import TracebackType

from odeploy_runtime.errors import WorkerError
from odeploy_runtime.realtime.child_process import python_module
from odeploy_runtime.realtime.ring import ENDED, FAILED, Ring, shareable
from odeploy_runtime.trace.flight_recorder import ring_rows
from odeploy_runtime.trace.format import TraceHeader
from odeploy_runtime.trace.writer import RowWriter, TraceFile
from odeploy_runtime.trace.writer_process import READY, Drain

log = logging.getLogger(__name__)

_START_S = 30.0
_END_S = 5.0


class DrainedTrace(RowWriter):
    """Rows go into shared memory; a context, which knows from its exit whether to call the run a failure.

    Attributes:
        process: the drain.
    """

    def __init__(self, path: Path, header: TraceHeader, beside: Path) -> None:
        """Begins the file, and starts the drain.

        Args:
            path: of the trace.
            header: of it.
            beside: what dumps of the flight recorder are called after.

        Raises:
            UsageError: no file can be written there.
            WorkerError: the drain did not start.
        """
        self._file = TraceFile.create(path, header)
        row_bytes, capacity = self._file.row_type.itemsize, ring_rows(header.rate_hz)
        memory = shareable(row_bytes, capacity)
        super().__init__(Ring(row_bytes, capacity, memory), header)
        self._life, theirs = socket.socketpair()
        descriptors = memory, self._file.descriptor, theirs.fileno()
        self.process = subprocess.Popen(
            python_module("odeploy_runtime.trace.writer_process", *map(str, descriptors), str(beside)),
            pass_fds=descriptors,
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C at the terminal is for the robot alone
        )
        os.close(memory)
        theirs.close()
        try:
            self._hear_ready()
        except BaseException:
            self.process.kill()
            self.process.wait()
            self._life.close()
            self._file.close()
            raise

    def __enter__(self) -> "DrainedTrace":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _where: TracebackType | None
    ) -> None:
        as_it_should = kind is None or issubclass(kind, KeyboardInterrupt)
        self._ring.end(ENDED if as_it_should else FAILED)
        self._life.close()
        try:
            status = self.process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            status = self.process.wait()
        if status != 0:
            how = signal.Signals(-status).name if status < 0 else f"status {status}"
            log.warning("trace: the process that writes it ended by %s; its rows are written now", how)
            Drain(self._ring, TraceFile(self._file.descriptor)).end()
        self._file.close()

    def _hear_ready(self) -> None:
        self._life.settimeout(_START_S)
        try:
            heard = self._life.recv(1)
        except TimeoutError:
            heard = b""
        if heard != READY:
            raise WorkerError(
                where=f"process {self.process.pid}, which writes the trace",
                expected=f"a sign of life within {_START_S:g} s",
                got="none",
                remedy="see what it printed, and whether this machine is overloaded",
            )
