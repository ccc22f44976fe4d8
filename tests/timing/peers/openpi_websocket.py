"""openpi's client and websocket server, with a policy that calls ONNX Runtime."""

import sys
import time
from typing import Any

from openpi_client.base_policy import BasePolicy
from openpi_client.websocket_client_policy import WebsocketClientPolicy
from openpi_server import WebsocketPolicyServer

from tests.timing.peers.tick import Floats, PlainLink, drive, onnx_runtime, serve_until_killed

_HOST, _TRIES = "127.0.0.1", 100


class Robot(PlainLink):
    """The robot's end."""

    def __init__(self, port: str) -> None:
        for _ in range(_TRIES):  # the server's port is bound after the last line that it can print before
            try:
                self._client = WebsocketClientPolicy(_HOST, int(port))
                return
            except ConnectionRefusedError:
                time.sleep(0.1)
        raise ConnectionRefusedError(port)

    def answer(self, observation: Floats) -> Floats:
        """Send the observation; wait for the action."""
        actions: Floats = self._client.infer({"observation": observation})["actions"]
        return actions


class Policy(BasePolicy):  # type: ignore[misc]  # an untyped package
    """A policy of openpi's server."""

    def __init__(self, file: str) -> None:
        self._answer = onnx_runtime(file)

    def infer(self, obs: dict[str, Any]) -> dict[str, Any]:
        """Return the action."""
        return {"actions": self._answer(obs["observation"])}

    def reset(self) -> None:
        """Do nothing."""


if __name__ == "__main__":
    role, policy, address, size = sys.argv[1:5]
    if role == "serve":
        server = WebsocketPolicyServer(Policy(policy), _HOST, int(address))
        serve_until_killed(server.serve_forever)
    else:
        drive(Robot(address), int(size))
