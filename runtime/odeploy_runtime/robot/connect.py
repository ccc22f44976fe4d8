"""One way to a policy, wherever it is: over a socket, through a courier process, or in this process."""

from pathlib import Path

import zmq

from odeploy_runtime.realtime.clock import Clock
from odeploy_runtime.transport.keys import RobotKeys
from odeploy_runtime.transport.link import CourierLink, DealerLink, Link

IN_PROCESS = "file:"


def connect(
    endpoint: str,
    clock: Clock,
    keys: RobotKeys | None = None,
    *,
    courier: bool = False,
    priority: int | None = None,
    provider: str = "cpu",
) -> Link:
    """A link for a `RobotClient`.

    Args:
        endpoint: `ipc:///path` or `tcp://host:port` of a server, or `file:policy.onnx` for a policy that
            answers in this process.
        clock: of all deadlines and stamps.
        keys: for a server that asks for them.
        courier: keep the network in a process of its own.
        priority: the courier's, of `odeploy_runtime.realtime.scheduling`.
        provider: what runs a policy in this process.

    Raises:
        AddressError: not an endpoint.
        MissingError, FormatError: a key or a policy file that cannot be used.
        RelayedError, WorkerError: the courier could not connect or did not start.
    """
    if endpoint.startswith(IN_PROCESS):
        from odeploy_runtime.inference.policy import load_policy
        from odeploy_runtime.policy_file.file import read
        from odeploy_runtime.server.in_process import InProcessLink

        return InProcessLink(load_policy(read(Path(endpoint.removeprefix(IN_PROCESS))), provider), clock)
    if courier:
        return CourierLink(endpoint, clock, keys, priority)
    return DealerLink(zmq.Context[zmq.Socket[bytes]].instance(), endpoint, clock, keys)
