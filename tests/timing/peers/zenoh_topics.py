"""Two zenoh topics over loopback, without a router: observations and actions as float32 bytes."""

import json
import sys
import time

import numpy as np
import zenoh

from tests.timing.peers.tick import Floats, PlainLink, drive, onnx_runtime, serve_until_killed

_OBSERVATION, _ACTION = "peers/observation", "peers/action"
_DISCOVERY_S = 1.0


def session(role: str, port: str) -> zenoh.Session:
    """Open a session that listens or connects, and looks for no other."""
    config = zenoh.Config()
    config.insert_json5("mode", json.dumps("peer"))
    config.insert_json5("scouting/multicast/enabled", "false")
    end = "listen" if role == "serve" else "connect"
    config.insert_json5("connect/endpoints" if end == "connect" else "listen/endpoints", _endpoints(port))
    if end == "connect":
        config.insert_json5("listen/endpoints", "[]")
    return zenoh.open(config)


class Robot(PlainLink):
    """The robot's end."""

    def __init__(self, port: str) -> None:
        self._session = session("robot", port)
        self._publisher = self._session.declare_publisher(_OBSERVATION, express=True)
        self._actions = self._session.declare_subscriber(_ACTION)
        time.sleep(_DISCOVERY_S)

    def answer(self, observation: Floats) -> Floats:
        """Publish the observation; wait for the action."""
        self._publisher.put(observation.tobytes())
        return np.frombuffer(self._actions.recv().payload.to_bytes(), np.float32)


def serve(file: str, port: str) -> None:
    """Publish an action for each observation."""
    answer, opened = onnx_runtime(file), session("serve", port)
    publisher = opened.declare_publisher(_ACTION, express=True)
    observations = opened.declare_subscriber(_OBSERVATION)

    def answering() -> None:
        for sample in observations:
            publisher.put(answer(np.frombuffer(sample.payload.to_bytes(), np.float32)).tobytes())

    serve_until_killed(answering)


def _endpoints(port: str) -> str:
    return json.dumps([f"tcp/127.0.0.1:{port}"])


if __name__ == "__main__":
    role, policy, address, size = sys.argv[1:5]
    if role == "serve":
        serve(policy, address)
    else:
        drive(Robot(address), int(size))
