"""One way to a policy, wherever it is: over a socket, through a courier process, or in this process."""

from pathlib import Path

import zmq

from runtime.clock import Clock
from runtime.keys import RobotKeys
from runtime.link import CourierLink, DealerLink, Link

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
        priority: the courier's, of `runtime.real_time`.
        provider: what runs a policy in this process.

    Raises:
        AddressError: not an endpoint.
        MissingError, FormatError: a key or a policy file that cannot be used.
        RelayedError, WorkerError: the courier could not connect or did not start.
    """
    if endpoint.startswith(IN_PROCESS):
        from runtime.backend import load_policy
        from runtime.in_process import InProcessLink
        from runtime.policy_file import read

        return InProcessLink(load_policy(read(Path(endpoint.removeprefix(IN_PROCESS))), provider), clock)
    if courier:
        return CourierLink(endpoint, clock, keys, priority)
    return DealerLink(zmq.Context[zmq.Socket[bytes]].instance(), endpoint, clock, keys)
