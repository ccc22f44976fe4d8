"""Background trace writer: the loop's end of the writer process."""

import logging
import os
import socket
from pathlib import Path
from types import TracebackType

from odeploy_runtime.errors import WorkerError
from odeploy_runtime.realtime.child_process import ending, kill, python_module, start, wait_or_kill
from odeploy_runtime.realtime.ring import ENDED, FAILED, Ring, shareable
from odeploy_runtime.trace.flight_recorder import ring_rows
from odeploy_runtime.trace.format import TraceHeader
from odeploy_runtime.trace.writer import RowWriter, TraceFile
from odeploy_runtime.trace.writer_process import READY, RowMover

log = logging.getLogger(__name__)

_START_S = 30.0
_END_S = 5.0


class BackgroundWriter(RowWriter):
    """Trace writer through shared memory: the loop never blocks on the disk.

    A context manager; an exception that ends the context marks the run as failed.

    Attributes:
        process: the writer process.
    """

    def __init__(self, path: Path, header: TraceHeader, beside: Path) -> None:
        """Create the file and start the writer process.

        Args:
            path: path of the trace.
            header: its header.
            beside: path of the flight recorder's dumps, which get `.fault-1` and so on appended.

        Raises:
            UsageError: the path cannot be written.
            WorkerError: the writer process did not start.
        """
        self._file = TraceFile.create(path, header)
        row_bytes, capacity = self._file.row_type.itemsize, ring_rows(header.rate_hz)
        memory = shareable(row_bytes, capacity)
        super().__init__(Ring(row_bytes, capacity, memory), header)
        self._life, theirs = socket.socketpair()
        descriptors = memory, self._file.descriptor, theirs.fileno()
        module, arguments = "odeploy_runtime.trace.writer_process", (*map(str, descriptors), str(beside))
        # After the robot's death it still writes the rows of the ring; its socket shows that death.
        self.process = start(python_module(module, *arguments, orphaned=None), pass_fds=descriptors)
        os.close(memory)
        theirs.close()
        try:
            self._await_ready()
        except BaseException:
            kill(self.process)
            self.process.wait()
            self._life.close()
            self._file.close()
            raise

    def __enter__(self) -> "BackgroundWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _where: TracebackType | None
    ) -> None:
        as_intended = kind is None or issubclass(kind, KeyboardInterrupt)
        self._ring.end(ENDED if as_intended else FAILED)
        self._life.close()
        status = wait_or_kill(self.process, _END_S)
        if status != 0:
            log.warning("trace: the writer process: %s; its rows are written now", ending(status))
            RowMover(self._ring, TraceFile(self._file.descriptor)).end()
        self._file.close()

    def _await_ready(self) -> None:
        self._life.settimeout(_START_S)
        try:
            received = self._life.recv(1)
        except TimeoutError:
            received = b""
        if received != READY:
            raise WorkerError(
                where=f"writer process {self.process.pid} of the trace",
                expected=f"a sign of life within {_START_S:g} s",
                got="none",
                remedy="check its output, and whether this machine is overloaded",
            )
