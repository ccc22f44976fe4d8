"""Many robots in one process: `python -m tests.faults.many_robots ENDPOINT FIRST COUNT` prints JSON.

Each robot connects and requests one action. A process can hold about a thousand descriptors, so a test with
1000 robots starts several processes.
"""

import json
import sys
import time
from contextlib import ExitStack, closing

import numpy as np
import zmq

from odeploy_runtime.realtime.clock import MonotonicClock
from odeploy_runtime.robot.client import RobotClient
from odeploy_runtime.transport import messages
from odeploy_runtime.transport.link import DealerLink
from odeploy_sim.catalogue.mazes import MAZE_MEDIUM

CLOCK = MonotonicClock()
S = 1_000_000_000
VALUES = messages.to_bytes(np.zeros(len(MAZE_MEDIUM.observation), np.float32))


def hello(name: str) -> messages.Hello:
    """Return the handshake of a robot of the maze."""
    names = list(MAZE_MEDIUM.observation_names), list(MAZE_MEDIUM.action_names)
    return messages.Hello(messages.PROTOCOL, name, MAZE_MEDIUM.name, 100.0, 0, *names)


def robot(context: "zmq.Context[zmq.Socket[bytes]]", endpoint: str, name: str) -> RobotClient:
    """Return a robot with a session."""
    return RobotClient(DealerLink(context, endpoint, CLOCK), hello(name), CLOCK, 60.0)


def main(endpoint: str, first: int, count: int) -> None:
    """Connect, request one action each, and print the counts."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    start = time.monotonic()
    with ExitStack() as stack:
        clients = [
            stack.enter_context(closing(robot(context, endpoint, f"robot {number}")))
            for number in range(first, first + count)
        ]
        connected_s = time.monotonic() - start
        for client in clients:
            client.send(0, 0, VALUES)
        answers = [client.receive(0, 0, CLOCK.now_ns() + 60 * S) for client in clients]
        # A robot that sent nothing for a second while the others connected has lost its session: it gets an error.
        refused = sum(
            answer is None and client.drops.errors > 0 for answer, client in zip(answers, clients, strict=True)
        )
        answered = sum(answer is not None for answer in answers)
    print(json.dumps({"connected_s": connected_s, "answered": answered, "refused": refused}))
    context.destroy(linger=0)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
