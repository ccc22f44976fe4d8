"""The link to a policy: local lane, ZeroMQ, or this process."""

from pathlib import Path
from typing import Literal

import zmq

from odeploy_runtime.errors import AddressError, UnreachableError
from odeploy_runtime.policy_file.file import PolicyFile
from odeploy_runtime.realtime.clock import Clock
from odeploy_runtime.socket_path import answers
from odeploy_runtime.transport.address import lane_file, socket_file
from odeploy_runtime.transport.keys import RobotKeys
from odeploy_runtime.transport.lane_link import LaneLink
from odeploy_runtime.transport.link import DealerLink, IoProcessLink, Link

Transport = Literal["auto", "lane", "zmq"]
"""`auto`: the server's local lane if it has one, else ZeroMQ."""
_RETRY_NS = 10_000_000


def connect(
    policy: str | PolicyFile,
    clock: Clock,
    keys: RobotKeys | None = None,
    *,
    transport: Transport = "auto",
    separate_process: bool = False,
    priority: int | None = None,
    provider: str = "auto",
    timeout_s: float = 0.0,
) -> Link:
    """Return a link for a `RobotClient`.

    Args:
        policy: a server's endpoint, `ipc:///path` or `tcp://host:port`, or a policy file to run in this process.
        clock: clock of all deadlines and stamps.
        keys: for a server that requires them; such a server has no lane.
        transport: how frames travel to a server.
        separate_process: keep ZeroMQ in an I/O process of its own, where it cannot stop the robot's ticks.
        priority: scheduling priority of that process, see `odeploy_runtime.realtime.scheduling`.
        provider: execution provider of a policy in this process.
        timeout_s: time to wait for a server on an `ipc://` path, to find out whether it has a lane.

    Raises:
        AddressError: not an endpoint, or one without a lane where a lane is required.
        UnreachableError: no server in time.
        MissingError, FormatError: a key or a policy file cannot be used.
        WorkerError: the policy file does not load in time.
        RelayedError, WorkerError: the I/O process could not connect or did not start.
    """
    if isinstance(policy, PolicyFile):
        from odeploy_runtime.inference.trial_load import load_tried  # a robot with a server needs no inference
        from odeploy_runtime.server.in_process import InProcessLink

        return InProcessLink(load_tried(policy, provider), clock)
    path = lane_file(policy) if keys is None else None
    if transport == "lane" and path is None:
        raise AddressError(
            where=f"endpoint {policy}",
            expected="ipc:///path without keys, for --transport lane",
            got="another address" if keys is None else "keys",
            remedy="leave out --transport, or use a server on this machine without keys",
        )
    if transport != "zmq" and path is not None:
        link = _lane(policy, path, clock, timeout_s, required=transport == "lane")
        if link is not None:
            return link
    if separate_process:
        return IoProcessLink(policy, clock, keys, priority)
    return DealerLink(zmq.Context[zmq.Socket[bytes]].instance(), policy, clock, keys)


def _lane(endpoint: str, path: Path, clock: Clock, timeout_s: float, *, required: bool) -> LaneLink | None:
    """Return a connected lane; None if a server answers that has none.

    A server opens its lane before its ZeroMQ socket, so a missing lane beside an answering socket is final.
    """
    link, deadline_ns = LaneLink(endpoint, path, clock), clock.now_ns() + round(timeout_s * 1e9)
    file = socket_file(endpoint)
    while not link.connect():
        if file is not None and not required and answers(file):
            return link if link.connect() else None
        if clock.now_ns() >= deadline_ns:
            raise UnreachableError(
                where=f"server at {endpoint}",
                expected=f"an answer within {timeout_s:g} s",
                got="none",
                remedy=f"start it: odeploy serve FILE --endpoint {endpoint}",
            )
        clock.sleep_until_ns(clock.now_ns() + _RETRY_NS)
    return link
