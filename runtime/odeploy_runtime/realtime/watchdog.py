"""Watchdog of a loop: ends the process once the loop no longer turns.

A call that does not return, such as an inference, cannot be interrupted from its own thread: Python handles
signals between two instructions of the main thread. ONNX Runtime releases the interpreter, so this thread still
wakes. It counts its own wake-ups instead of time: a stop of the whole process stops the count too.
"""

import logging
import os
import select
import signal
import socket
import threading
from collections.abc import Callable
from types import TracebackType
from typing import NoReturn

from odeploy_runtime.realtime.counters import Counters

log = logging.getLogger(__name__)

STUCK_STATUS = 70  # EX_SOFTWARE of sysexits.h
_WAKE_S = 0.1
_WAKE_UPS = 20
_AFTER_SIGNAL = 5
_ALIVE_EVERY = 10


class Watchdog:
    """Thread beside a loop in the main thread, while the context lasts."""

    def __init__(
        self, turns: Callable[[], int], at_work: Callable[[], str], alive: Callable[[], object], counters: Counters
    ) -> None:
        """Watch a loop.

        Args:
            turns: returns the number of the loop's iterations, at least one in 300 ms.
            at_work: returns what the loop computes, for the log.
            alive: called once a second while the loop turns.
            counters: have `ready` and `turned_ns`.
        """
        self._turns, self._at_work, self._alive, self._counters = turns, at_work, alive, counters
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)
        self._signals, self._written = socket.socketpair()
        self._written.setblocking(False)
        self._before: int | None = None

    def __enter__(self) -> None:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.set_wakeup_fd(self._written.fileno(), warn_on_full_buffer=False)
        self._thread.start()

    def __exit__(
        self, _type: type[BaseException] | None, _e: BaseException | None, _t: TracebackType | None
    ) -> None:
        if self._before is not None:
            signal.set_wakeup_fd(self._before)
        self._written.close()
        self._thread.join()
        self._signals.close()

    def _run(self) -> None:
        seen, still, wake_ups, limit = -1, 0, 0, _WAKE_UPS
        while True:
            if select.select([self._signals], [], [], _WAKE_S)[0]:
                if not self._signals.recv(64):
                    return
                limit = _AFTER_SIGNAL
                continue
            turns = self._turns()
            seen, still = turns, still + 1 if turns == seen else 0
            wake_ups += 1
            if still >= limit:
                self._end(limit)
            if not still and wake_ups % _ALIVE_EVERY == 0:
                self._alive()

    def _end(self, limit: int) -> NoReturn:
        self._counters.set("ready", 0)
        self._counters.set("turned_ns", 0)  # not live
        log.critical(
            "the loop has not turned for %.1f s%s: %s; exit with %d",
            limit * _WAKE_S,
            " after a signal" if limit == _AFTER_SIGNAL else "",
            self._at_work(),
            STUCK_STATUS,
        )
        os._exit(STUCK_STATUS)
