"""The I/O process: carries frames between robot and server, undecoded.

It is the robot's network side. The guard, the clock and the simulation or hardware run in another process, so
their ticks continue whatever happens here: HOLD, then SAFE. Of the waiting frames it sends only the newest, so no
outage, of the server or of itself, ends in a burst of stale requests.
"""

import contextlib
import select
import socket
import sys
from pathlib import Path
from typing import cast

import zmq

from odeploy_runtime.errors import OdeployError
from odeploy_runtime.realtime.scheduling import real_time
from odeploy_runtime.transport.keys import RobotKeys
from odeploy_runtime.transport.messages import MAX_FRAME_BYTES
from odeploy_runtime.transport.sockets import connect_dealer, send_at_once

TOUCH = b"\xc1"
"""A sign of life in either direction; not a frame, since MessagePack never uses this byte."""
UNSENT = b"\xc1\xc1"
"""To the robot: a frame could not be sent and is dropped."""
_LINGER_MS = 100


def carry(robot: socket.socket, dealer: "zmq.Socket[bytes]") -> None:
    """Carry frames until the robot closes its end, or dies."""
    poll = select.poll()
    poll.register(robot, select.POLLIN)
    poll.register(cast(int, dealer.getsockopt(zmq.FD)), select.POLLIN)
    alive = True
    while alive:
        # ZeroMQ's descriptor signals edges: everything is read before the next wait.
        while cast(int, dealer.getsockopt(zmq.EVENTS)) & zmq.POLLIN:
            frame = dealer.recv()
            if frame:  # an empty packet would mean a death to the robot
                _pass_on(robot, frame)
        poll.poll()
        newest, alive = _newest(robot)
        if newest is not None and not send_at_once(dealer, newest):
            _pass_on(robot, UNSENT)


def _newest(robot: socket.socket) -> tuple[bytes | None, bool]:
    """Return the newest waiting frame, and whether the robot is still alive."""
    newest = None
    try:
        while frame := robot.recv(MAX_FRAME_BYTES):
            newest = newest if frame == TOUCH else frame
    except BlockingIOError:
        return newest, True
    except ConnectionResetError:  # died with unread frames
        pass
    return newest, False


def _pass_on(robot: socket.socket, frame: bytes) -> None:
    # Frames that a busy robot cannot take are dropped; the next `_newest` notices a dead one.
    with contextlib.suppress(BlockingIOError, BrokenPipeError, ConnectionResetError):
        robot.send(frame)


def main(endpoint: str, descriptor: int, priority: int | None, keys: RobotKeys | None) -> None:
    """Run the process: report readiness, or the error in one line; carry frames."""
    with socket.socket(fileno=descriptor) as robot, zmq.Context[zmq.Socket[bytes]]() as context:
        try:
            dealer = connect_dealer(context, endpoint, keys)
        except OdeployError as error:
            robot.send(str(error).encode())
            return
        robot.send(TOUCH)
        robot.setblocking(False)
        try:
            with real_time(priority):
                carry(robot, dealer)
        finally:
            dealer.close(linger=_LINGER_MS)


if __name__ == "__main__":
    _, place, own, prio, *paths = sys.argv
    main(place, int(own), int(prio) if prio else None, RobotKeys(*map(Path, paths)) if paths else None)
