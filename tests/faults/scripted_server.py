"""A server that sends a test's actions to a real robot and records what it receives."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import zmq

from odeploy_runtime.transport import messages
from odeploy_runtime.transport.sockets import bind_router, send_at_once

Respond = Callable[[messages.Observation], list[float]]


class ScriptedServer:
    """Server that answers each observation at once.

    Attributes:
        received: (arrival time [ns], observation) of each request.
    """

    def __init__(self, context: "zmq.Context[zmq.Socket[bytes]]", endpoint: str, respond: Respond) -> None:
        self._socket = bind_router(context, endpoint)
        self._respond = respond
        self.received: list[tuple[int, messages.Observation]] = []
        self._ended = threading.Event()

    def run(self) -> None:
        """Serve until `end`."""
        while not self._ended.is_set():
            if self._socket.poll(5):
                identity, frame = self._socket.recv_multipart()
                for message in self._answer(messages.unpack(frame)):
                    send_at_once(self._socket, identity, messages.pack(message))
        self._socket.close()

    def end(self) -> None:
        """Stop `run`."""
        self._ended.set()

    def _answer(self, message: messages.Message) -> list[messages.Message]:
        now_ns = time.monotonic_ns()
        if isinstance(message, messages.Hello):
            return [messages.Ready(messages.PROTOCOL, 1, "scripted", "f" * 64, 100.0, 1)]
        if not isinstance(message, messages.Observation):
            return []
        self.received.append((now_ns, message))
        values = messages.to_bytes(np.array(self._respond(message), np.float32))
        stamps = (now_ns,) * 4
        return [messages.Action(message.session, message.episode, message.seq, 1, messages.OK, *stamps, values)]


@contextmanager
def scripted(endpoint: str, respond: Respond) -> Iterator[ScriptedServer]:
    """Run a scripted server in a thread of this process."""
    with zmq.Context[zmq.Socket[bytes]]() as context:
        server = ScriptedServer(context, endpoint, respond)
        thread = threading.Thread(target=server.run)
        thread.start()
        try:
            yield server
        finally:
            server.end()
            thread.join()
