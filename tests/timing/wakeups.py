"""A probe that only wakes up on a grid, until SIGTERM: the machine's effect on any loop of that rate.

    python -m tests.timing.wakeups RATE PRIORITY OUT

PRIORITY is that of `realtime.scheduling`, 0 for none. OUT is an array of the lateness [ns] of each due tick, -1
for a missed one.
"""

import signal
import sys
from pathlib import Path

import numpy as np

from odeploy_runtime.realtime.clock import MonotonicClock, Rate
from odeploy_runtime.realtime.scheduling import real_time


def probe(rate_hz: float, priority: int | None, out: Path) -> None:
    """Wake up until a signal comes, and write the lateness."""
    late: list[int] = []
    try:
        with real_time(priority):
            rate, number = Rate(rate_hz, MonotonicClock()), -1
            while True:
                tick = rate.wait()
                late.extend([-1] * (tick.number - number - 1))
                late.append(tick.woke_ns - tick.due_ns)
                number = tick.number
    except KeyboardInterrupt:
        np.save(out, np.array(late, np.int64), allow_pickle=False)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    probe(float(sys.argv[1]), int(sys.argv[2]) or None, Path(sys.argv[3]))
