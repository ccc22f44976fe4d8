"""A proxy between one robot and its server that loses, doubles, delays, reorders or changes whole frames."""

import heapq
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import zmq

Fate = Callable[[int, bytes], list[tuple[float, bytes]]]
"""(number, frame) -> frames to pass on, each with its delay [s]; an empty list drops the frame."""


def untouched(number: int, frame: bytes) -> list[tuple[float, bytes]]:
    """Pass every frame on at once."""
    return [(0.0, frame)]


class FrameProxy:
    """Proxy between `front`, where a robot connects, and a server at `back`.

    Attributes:
        requests: fate of the robot's frames.
        replies: fate of the server's frames.
        seen: number of replies from the server.
    """

    def __init__(self, context: "zmq.Context[zmq.Socket[bytes]]", front: str, back: str) -> None:
        self._robot, self._server = context.socket(zmq.ROUTER), context.socket(zmq.DEALER)
        for each in (self._robot, self._server):
            each.setsockopt(zmq.LINGER, 0)
        self._robot.bind(front)
        self._server.connect(back)
        self.requests: Fate = untouched
        self.replies: Fate = untouched
        self.seen = 0
        self._identity = b""
        self._late: list[tuple[float, int, bool, bytes]] = []  # when, order, to the robot, frame
        self._order = itertools.count()
        self._ended = threading.Event()

    def run(self) -> None:
        """Pass frames on until `end`."""
        numbers = itertools.count()
        while not self._ended.is_set():
            if self._robot.poll(1):
                self._identity, frame = self._robot.recv_multipart()
                self._schedule(False, self.requests(next(numbers), frame))
            while self._server.poll(0):
                self._schedule(True, self.replies(self.seen, self._server.recv()))
                self.seen += 1
            while self._late and self._late[0][0] <= time.monotonic():
                _, _, to_robot, frame = heapq.heappop(self._late)
                if to_robot:
                    self._robot.send_multipart((self._identity, frame))
                else:
                    self._server.send(frame)
        self._robot.close()
        self._server.close()

    def end(self) -> None:
        """Stop `run`."""
        self._ended.set()

    def _schedule(self, to_robot: bool, fates: list[tuple[float, bytes]]) -> None:
        for delay_s, frame in fates:
            heapq.heappush(self._late, (time.monotonic() + delay_s, next(self._order), to_robot, frame))


@contextmanager
def proxied(front: str, back: str) -> Iterator[FrameProxy]:
    """Run a proxy in a thread of this process."""
    with zmq.Context[zmq.Socket[bytes]]() as context:
        proxy = FrameProxy(context, front, back)
        thread = threading.Thread(target=proxy.run)
        thread.start()
        try:
            yield proxy
        finally:
            proxy.end()
            thread.join()
