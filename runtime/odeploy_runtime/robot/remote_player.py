"""A served policy, played tick by tick: no loop, no guard, no trace."""

import os
from collections.abc import Sequence
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from odeploy_runtime.errors import UnreachableError
from odeploy_runtime.realtime.clock import MonotonicClock
from odeploy_runtime.robot.chunk_playback import ChunkOptions
from odeploy_runtime.robot.client import RobotClient
from odeploy_runtime.robot.connect import Transport
from odeploy_runtime.robot.connect import connect as link_to
from odeploy_runtime.robot.player import Player
from odeploy_runtime.signals import Signal
from odeploy_runtime.transport import messages
from odeploy_runtime.transport.keys import RobotKeys


class RemotePlayer(Player):
    """A session with a server; a context manager that ends it.

    Attributes:
        ready: the server's answer to the handshake: policy, fingerprint, horizon.
    """

    def __init__(
        self, client: RobotClient, observation: Sequence[str], options: ChunkOptions, wait_s: float
    ) -> None:
        """Begin the first episode of a session; an answer may take `wait_s`."""
        self.ready = client.ready
        self._client, self._wait_s = client, wait_s
        super().__init__(observation, options.chunking(client.ready.horizon, paced=False))

    def close(self) -> None:
        """End the session."""
        self._client.close()

    def __enter__(self) -> "RemotePlayer":
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _where: TracebackType | None
    ) -> None:
        self.close()

    def _answer(self, episode: int, tick: int, sensed: NDArray[np.float32]) -> NDArray[np.float32]:
        sent_ns = self._client.send(episode, tick, messages.to_bytes(sensed))
        arrival = self._client.receive(episode, tick, sent_ns + round(self._wait_s * 1e9))
        if arrival is None:
            raise UnreachableError(
                where=f"server, episode {episode}, tick {tick}",
                expected="an action",
                got=f"{self._client.last_error or f'none within {self._wait_s:g} s'}",
                remedy="read the server's log",
            )
        return arrival.values


def connect(
    endpoint: str,
    *,
    observation: Sequence[str | Signal],
    action: Sequence[str | Signal],
    rate_hz: float,
    task: str = "",
    robot: str | None = None,
    seed: int = 0,
    execute: int = 1,
    keys: RobotKeys | None = None,
    transport: Transport = "auto",
    timeout_s: float = 10.0,
    wait_s: float = 5.0,
) -> RemotePlayer:
    """Open a session with a server.

    The server compares signals and task with its policy file, and refuses what differs.

    Args:
        endpoint: address of the server, `ipc:///path` or `tcp://host:port`.
        observation: the robot's observation signals, in order, or their names.
        action: its action signals.
        rate_hz: its control rate.
        task: name of the task; empty to accept the policy of any task.
        robot: name of the robot, once a server; None for one with the process id.
        seed: seed of the policy's noise.
        execute: E, actions to play of each chunk before the next one is requested.
        keys: key files, for a server that requires them.
        transport: `lane`, `zmq`, or `auto` for the server's local lane if it has one.
        timeout_s: time to wait for the session.
        wait_s: time to wait for an answer.

    Raises:
        AddressError: not an endpoint.
        UnreachableError: no session in time.
        RefusedError: the policy was exported for other signals, another rate or another task.
    """
    clock = MonotonicClock()
    names = [[s.name if isinstance(s, Signal) else s for s in signals] for signals in (observation, action)]
    hello = messages.Hello(
        protocol=messages.PROTOCOL,
        robot=robot or f"robot-{os.getpid()}",
        task=task,
        rate_hz=rate_hz / max(1, execute),
        seed=seed,
        observation=names[0],
        action=names[1],
        mode="request",
    )
    link = link_to(endpoint, clock, keys, transport=transport, timeout_s=timeout_s)
    client = RobotClient(link, hello, clock, timeout_s)
    try:
        return RemotePlayer(client, names[0], ChunkOptions(execute=execute), wait_s)
    except BaseException:
        client.close()
        raise
