"""LeRobot's policy server over gRPC, with a stub of its policy that calls ONNX Runtime.

Preprocessor and postprocessor are left out, the server's log too, and the latency that it adds is set to 0.
"""

import logging
import pickle  # LeRobot's wire format
import sys
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import torch
from lerobot.async_inference.configs import PolicyServerConfig
from lerobot.async_inference.helpers import TimedAction, TimedObservation
from lerobot.async_inference.policy_server import PolicyServer
from lerobot.transport import services_pb2, services_pb2_grpc
from lerobot.transport.utils import send_bytes_in_chunks

from tests.timing.peers.tick import CLOCK, Floats, PlainLink, drive, onnx_runtime, serve_until_killed

_HOST = "127.0.0.1"


class Robot(PlainLink):
    """The robot's end: the calls of LeRobot's client, one after the other."""

    def __init__(self, port: str) -> None:
        self._stub = services_pb2_grpc.AsyncInferenceStub(grpc.insecure_channel(f"{_HOST}:{port}"))
        self._stub.Ready(services_pb2.Empty())
        self._tick = 0

    def answer(self, observation: Floats) -> Floats:
        """Send the observation; request its actions."""
        self._tick += 1
        timed = TimedObservation(CLOCK.now_ns() * 1e-9, self._tick, {"state": observation}, must_go=True)
        chunks = send_bytes_in_chunks(pickle.dumps(timed), services_pb2.Observation, silent=True)
        self._stub.SendObservations(chunks)
        actions = pickle.loads(self._stub.GetActions(services_pb2.Empty()).data)
        action: Floats = actions[0].get_action().numpy()
        return action


class Server(PolicyServer):  # type: ignore[misc]  # an untyped package
    """LeRobot's server without a pretrained policy."""

    def __init__(self, file: str, port: int) -> None:
        super().__init__(PolicyServerConfig(host=_HOST, port=port, inference_latency=0.0))
        self._answer = onnx_runtime(file)

    def _predict_action_chunk(self, observation_t: TimedObservation) -> list[TimedAction]:
        self.last_processed_obs = observation_t
        action = torch.from_numpy(np.copy(self._answer(observation_t.get_observation()["state"])))
        return [TimedAction(observation_t.get_timestamp(), observation_t.get_timestep(), action)]


def serve(file: str, port: str) -> None:
    """Serve as LeRobot's own command does."""
    torch.set_num_threads(1)
    logging.disable(logging.INFO)
    server = grpc.server(ThreadPoolExecutor(4))
    services_pb2_grpc.add_AsyncInferenceServicer_to_server(Server(file, int(port)), server)
    server.add_insecure_port(f"{_HOST}:{port}")
    server.start()
    serve_until_killed(server.wait_for_termination)


if __name__ == "__main__":
    role, policy, address, size = sys.argv[1:5]
    if role == "serve":
        serve(policy, address)
    else:
        drive(Robot(address), int(size))
