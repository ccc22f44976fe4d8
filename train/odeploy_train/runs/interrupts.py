"""SIGINT and SIGTERM deferred to the end of a step."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any


class Interrupts:
    """Defers SIGINT and SIGTERM to the end of a step; a second signal is immediate.

    In the middle of `optimizer.step()` half of the weights are new; a checkpoint of them would not continue as the
    run would have. At the end KeyboardInterrupt is raised. Outside the main thread, where Python delivers no
    signals, this does nothing.
    """

    def __init__(self) -> None:
        self.asked = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "Interrupts":
        if threading.current_thread() is threading.main_thread():
            self._before = {s: signal.signal(s, self._note) for s in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if self.asked and kind is None:
            raise KeyboardInterrupt

    def _note(self, _signum: int, _frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
