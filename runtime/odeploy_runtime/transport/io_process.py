"""The courier: a process that carries frames between a robot and its server, and looks into none of them.

It is the network's side of the robot. The guard, the clock and the simulation or hardware are in another
process, so whatever befalls this one, their ticks go on: HOLD, then SAFE. Of the robot's frames that wait it
sends the newest alone, so that no outage, of the server or of itself, ends in a burst of stale requests.
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
"""Either way, a sign of life and no frame: MessagePack never uses this byte."""
UNSENT = b"\xc1\xc1"
"""To the robot: a frame could not leave, and is gone."""
_LINGER_MS = 100


def carry(robot: socket.socket, dealer: "zmq.Socket[bytes]") -> None:
    """Carries until the robot closes its end, or dies."""
    poll = select.poll()
    poll.register(robot, select.POLLIN)
    poll.register(cast(int, dealer.getsockopt(zmq.FD)), select.POLLIN)
    alive = True
    while alive:
        # ZeroMQ's descriptor signals edges: all that is there is taken before the next wait.
        while cast(int, dealer.getsockopt(zmq.EVENTS)) & zmq.POLLIN:
            frame = dealer.recv()
            if frame:  # an empty packet would tell the robot of a death
                _hand(robot, frame)
        poll.poll()
        newest, alive = _newest(robot)
        if newest is not None and not send_at_once(dealer, newest):
            _hand(robot, UNSENT)


def _newest(robot: socket.socket) -> tuple[bytes | None, bool]:
    """The last frame that waits, and whether the robot is still there."""
    newest = None
    try:
        while frame := robot.recv(MAX_FRAME_BYTES):
            newest = newest if frame == TOUCH else frame
    except BlockingIOError:
        return newest, True
    except ConnectionResetError:  # dead, with frames that it had not taken
        pass
    return newest, False


def _hand(robot: socket.socket, frame: bytes) -> None:
    # What a robot that is busy cannot take is dropped; one that is gone is noticed by the next `_newest`.
    with contextlib.suppress(BlockingIOError, BrokenPipeError, ConnectionResetError):
        robot.send(frame)


def main(endpoint: str, descriptor: int, priority: int | None, keys: RobotKeys | None) -> None:
    """The process: says that it is ready, or in one line why not, and carries."""
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
    _, place, own, hurry, *paths = sys.argv
    main(place, int(own), int(hurry) if hurry else None, RobotKeys(*map(Path, paths)) if paths else None)
