"""A server that answers a real robot with whatever a test wants, and remembers when it heard what."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import zmq

from odeploy_runtime.transport import messages
from odeploy_runtime.transport.sockets import bind_router, send_at_once

Say = Callable[[messages.Observation], list[float]]


class ScriptedServer:
    """Answers each observation at once.

    Attributes:
        heard: observations, each with the time at which it came.
    """

    def __init__(self, context: "zmq.Context[zmq.Socket[bytes]]", endpoint: str, say: Say) -> None:
        self._socket = bind_router(context, endpoint)
        self._say = say
        self.heard: list[tuple[int, messages.Observation]] = []
        self._ended = threading.Event()

    def run(self) -> None:
        """Serves until `end`."""
        while not self._ended.is_set():
            if self._socket.poll(5):
                identity, frame = self._socket.recv_multipart()
                for message in self._answer(messages.unpack(frame)):
                    send_at_once(self._socket, identity, messages.pack(message))
        self._socket.close()

    def end(self) -> None:
        """Lets `run` return."""
        self._ended.set()

    def _answer(self, message: messages.Message) -> list[messages.Message]:
        now_ns = time.monotonic_ns()
        if isinstance(message, messages.Hello):
            return [messages.Ready(messages.PROTOCOL, 1, "scripted", "f" * 64, 100.0, 1)]
        if not isinstance(message, messages.Observation):
            return []
        self.heard.append((now_ns, message))
        values = messages.to_bytes(np.array(self._say(message), np.float32))
        stamps = (now_ns,) * 4
        return [messages.Action(message.session, message.episode, message.seq, 1, messages.OK, *stamps, values)]


@contextmanager
def scripted(endpoint: str, say: Say) -> Iterator[ScriptedServer]:
    """A server that runs in a thread of this process."""
    with zmq.Context[zmq.Socket[bytes]]() as context:
        server = ScriptedServer(context, endpoint, say)
        thread = threading.Thread(target=server.run)
        thread.start()
        try:
            yield server
        finally:
            server.end()
            thread.join()
