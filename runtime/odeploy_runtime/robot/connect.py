"""The link to a policy: by a socket, by an I/O process, or in this process."""

import zmq

from odeploy_runtime.policy_file.file import PolicyFile
from odeploy_runtime.realtime.clock import Clock
from odeploy_runtime.transport.keys import RobotKeys
from odeploy_runtime.transport.link import DealerLink, IoProcessLink, Link


def connect(
    policy: str | PolicyFile,
    clock: Clock,
    keys: RobotKeys | None = None,
    *,
    separate_process: bool = False,
    priority: int | None = None,
    provider: str = "auto",
) -> Link:
    """Return a link for a `RobotClient`.

    Args:
        policy: a server's endpoint, `ipc:///path` or `tcp://host:port`, or a policy file to run in this process.
        clock: clock of all deadlines and stamps.
        keys: for a server that requires them.
        separate_process: keep the network in an I/O process of its own, where it cannot stop the robot's ticks.
        priority: scheduling priority of that process, see `odeploy_runtime.realtime.scheduling`.
        provider: execution provider of a policy in this process.

    Raises:
        AddressError: not an endpoint.
        MissingError, FormatError: a key or a policy file cannot be used.
        WorkerError: the policy file does not load in time.
        RelayedError, WorkerError: the I/O process could not connect or did not start.
    """
    if isinstance(policy, PolicyFile):
        from odeploy_runtime.inference.trial_load import load_tried  # a robot with a server needs no inference
        from odeploy_runtime.server.in_process import InProcessLink

        return InProcessLink(load_tried(policy, provider), clock)
    if separate_process:
        return IoProcessLink(policy, clock, keys, priority)
    return DealerLink(zmq.Context[zmq.Socket[bytes]].instance(), policy, clock, keys)
