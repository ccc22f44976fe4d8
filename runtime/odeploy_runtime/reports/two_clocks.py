"""Stamps of two clocks: robot and server on two hosts or in two time namespaces.

Differences of one clock stay valid: inference, round trip, and each stage within one end. The two stages of the
wire subtract one clock from the other and mean nothing.
"""

import numpy as np
from numpy.typing import NDArray

from odeploy_runtime.realtime.clock import ANSWERS_CHECKED, in_order
from odeploy_runtime.trace.format import STAMPS

WIRE = "received", "arrived"
"""Names of the two stages of the wire."""
_SENT, _RECEIVED, _REPLIED, _ARRIVED = (STAMPS.index(name) for name in ("sent", "received", "replied", "arrived"))


def one_clock(stamps: NDArray[np.int64]) -> bool:
    """Return whether the first answers are consistent with one clock.

    Args:
        stamps: stamps of answered ticks. Shape (rows, 11).
    """
    return all(in_order(row) for row in stamps[:ANSWERS_CHECKED, _SENT : _ARRIVED + 1].tolist())


def on_the_robots_clock(stamps: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the stamps with the server's shifted to the robot's clock.

    The shift makes each observation arrive when it was sent. The way back then takes the time of both ways.
    """
    shifted = stamps.copy()
    server = shifted[:, _RECEIVED : _REPLIED + 1]
    server += np.where(server > 0, stamps[:, [_SENT]] - stamps[:, [_RECEIVED]], 0)
    return shifted
