"""Child process: runs a module as a program, and ends with its parent.

    python -P -m odeploy_runtime.realtime.child_main PARENT SIGNAL FOLDER MODULE ARGUMENTS...

SIGTERM unwinds the program, so that it ends its own children and removes its files.
"""

import contextlib
import ctypes
import os
import runpy
import signal
import sys
import threading
import time
from types import FrameType

_PR_SET_PDEATHSIG = 1
_LOOK_S = 0.2


def main(parent: int, orphaned: int, folder: str, module: str, arguments: list[str]) -> None:
    """Run the module.

    Args:
        parent: process id of the parent.
        orphaned: number of the signal that ends this process when the parent has died; 0 for none.
        folder: temporary folder of this process, which the parent removes, or this process after the parent's
            death; empty for none.
        module: name of the module.
        arguments: its arguments.
    """
    signal.signal(signal.SIGTERM, _unwind)
    sys.argv = [module, *arguments]
    try:
        if orphaned:
            end_with_parent(parent, signal.Signals(orphaned))
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    finally:
        if folder and os.getppid() != parent:
            import shutil

            shutil.rmtree(folder, ignore_errors=True)


def _unwind(number: int, _frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_IGN)  # the end must complete
    sys.exit(128 + number)


def end_with_parent(parent: int, sent: signal.Signals) -> None:
    """Have this process receive a signal when its parent has died.

    On Linux the kernel sends it, also to a stopped process, and already when the thread that started this process
    ends. Elsewhere a thread looks every 0.2 s.

    Args:
        parent: process id of the parent; the signal comes at once if it is dead already.
        sent: the signal.
    """
    if _asked_of_kernel(sent):
        if os.getppid() != parent:  # it died before
            os.kill(os.getpid(), sent)
    else:
        threading.Thread(target=_watch, args=(parent, sent), name="parent", daemon=True).start()


def _asked_of_kernel(sent: signal.Signals) -> bool:
    with contextlib.suppress(OSError, AttributeError):  # no prctl on this system
        return bool(ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, sent, 0, 0, 0) == 0)
    return False


def _watch(parent: int, sent: signal.Signals) -> None:
    while os.getppid() == parent:
        time.sleep(_LOOK_S)
    os.kill(os.getpid(), sent)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4], sys.argv[5:])
