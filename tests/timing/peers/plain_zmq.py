"""ZeroMQ REQ and REP over ipc, carrying float32 bytes."""

import sys

import numpy as np
import zmq

from tests.timing.peers.tick import Floats, PlainLink, drive, onnx_runtime, serve_until_killed


class Robot(PlainLink):
    """The robot's end."""

    def __init__(self, path: str) -> None:
        self._socket = zmq.Context[zmq.Socket[bytes]].instance().socket(zmq.REQ)
        self._socket.connect(f"ipc://{path}")

    def answer(self, observation: Floats) -> Floats:
        """Send the observation; wait for the action."""
        self._socket.send(observation.tobytes())
        return np.frombuffer(self._socket.recv(), np.float32)


def serve(file: str, path: str) -> None:
    """Answer requests."""
    answer, socket = onnx_runtime(file), zmq.Context[zmq.Socket[bytes]].instance().socket(zmq.REP)
    socket.bind(f"ipc://{path}")

    def answering() -> None:
        while True:
            socket.send(answer(np.frombuffer(socket.recv(), np.float32)).tobytes())

    serve_until_killed(answering)


if __name__ == "__main__":
    role, policy, address, size = sys.argv[1:5]
    if role == "serve":
        serve(policy, address)
    else:
        drive(Robot(address), int(size))
