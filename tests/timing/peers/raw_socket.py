"""A Unix socket that carries float32 bytes: no frames, no checks, one client."""

import socket
import sys

import numpy as np

from tests.timing.peers.tick import Floats, PlainLink, drive, onnx_runtime, serve_until_killed

_MOST = 65536


class Robot(PlainLink):
    """The robot's end."""

    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.connect(path)

    def answer(self, observation: Floats) -> Floats:
        """Send the observation; wait for the action."""
        self._socket.send(observation.tobytes())
        return np.frombuffer(self._socket.recv(_MOST), np.float32)


def serve(file: str, path: str) -> None:
    """Answer one client until it closes."""
    answer, listening = onnx_runtime(file), socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listening.bind(path)
    listening.listen(1)

    def answering() -> None:
        connection, _ = listening.accept()
        while data := connection.recv(_MOST):
            connection.send(answer(np.frombuffer(data, np.float32)).tobytes())

    serve_until_killed(answering)


if __name__ == "__main__":
    role, policy, address, size = sys.argv[1:5]
    if role == "serve":
        serve(policy, address)
    else:
        drive(Robot(address), int(size))
