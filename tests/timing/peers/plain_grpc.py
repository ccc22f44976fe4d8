"""A unary gRPC call over a Unix socket, carrying float32 bytes."""

import sys
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np

from tests.timing.peers.tick import Floats, PlainLink, drive, onnx_runtime, serve_until_killed

_SERVICE, _METHOD = "peers.Policy", "Answer"


class Robot(PlainLink):
    """The robot's end."""

    def __init__(self, path: str) -> None:
        self._call = grpc.insecure_channel(f"unix:{path}").unary_unary(f"/{_SERVICE}/{_METHOD}")

    def answer(self, observation: Floats) -> Floats:
        """Call the server."""
        return np.frombuffer(self._call(observation.tobytes()), np.float32)


def serve(file: str, path: str) -> None:
    """Answer calls in one thread."""
    answer = onnx_runtime(file)

    def handle(data: bytes, _: object) -> bytes:
        return answer(np.frombuffer(data, np.float32)).tobytes()

    server = grpc.server(ThreadPoolExecutor(1))
    handler = grpc.method_handlers_generic_handler(
        _SERVICE, {_METHOD: grpc.unary_unary_rpc_method_handler(handle)}
    )
    server.add_generic_rpc_handlers((handler,))
    server.add_insecure_port(f"unix:{path}")
    server.start()
    serve_until_killed(server.wait_for_termination)


if __name__ == "__main__":
    role, policy, address, size = sys.argv[1:5]
    if role == "serve":
        serve(policy, address)
    else:
        drive(Robot(address), int(size))
