"""A client of the wire protocol, the same for every checkout: it imports nothing of odeploy."""

import gc
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgpack
import numpy as np
import zmq
from numpy.typing import NDArray

HELLO, READY, OBSERVATION, ACTION, BYE = 1, 2, 4, 5, 7
_PROTOCOL = 1
_ANSWER_MS = 5000


@dataclass(frozen=True)
class Contract:
    """A robot's Hello, and the observation that it sends."""

    task: str
    observation_names: Sequence[str]
    action_names: Sequence[str]
    values: bytes
    """Observation as little-endian float32."""


@dataclass(frozen=True)
class Answered:
    """Durations [ns] of a turn. Shape (ticks,) each."""

    round_trip: NDArray[np.int64]
    inference: NDArray[np.int64]


class WireRobot:
    """A robot that sends one observation a tick and waits for its action."""

    def __init__(self, endpoint: str, contract: Contract, rate_hz: float) -> None:
        self._contract, self._rate_hz = contract, rate_hz
        self._context = zmq.Context[zmq.Socket[bytes]]()
        self._dealer = self._context.socket(zmq.DEALER)
        for option, value in ((zmq.LINGER, 0), (zmq.IMMEDIATE, 1), (zmq.SNDTIMEO, _ANSWER_MS)):
            self._dealer.setsockopt(option, value)
        self._dealer.connect(endpoint)

    def close(self) -> None:
        """Close the socket."""
        self._context.destroy(linger=0)

    def turn(self, seconds: float, settling: int) -> Answered:
        """Hold one session for a while, at the control rate; leave out its first ticks."""
        contract, period_ns = self._contract, round(1e9 / self._rate_hz)
        names = list(contract.observation_names), list(contract.action_names)
        hello = [HELLO, _PROTOCOL, f"against-{os.getpid()}", contract.task, self._rate_hz, 0, *names, "request"]
        self._dealer.send(msgpack.packb(hello))
        session = self._receive(READY)[2]
        round_trip, inference = [], []
        gc.disable()
        start_ns = time.monotonic_ns() + period_ns
        for seq in range(round(seconds * self._rate_hz)):
            time.sleep(max(0, start_ns + seq * period_ns - time.monotonic_ns()) * 1e-9)
            sent_ns = time.monotonic_ns()
            self._dealer.send(msgpack.packb([OBSERVATION, session, 1, seq, sent_ns, contract.values]))
            action = self._receive(ACTION)
            round_trip.append(time.monotonic_ns() - sent_ns)
            assert action[1:4] == [session, 1, seq]
            inference.append(action[8] - action[7])
        gc.enable()
        self._dealer.send(msgpack.packb([BYE, session]))
        return Answered(np.array(round_trip[settling:]), np.array(inference[settling:]))

    def _receive(self, number: int) -> list[Any]:
        if not self._dealer.poll(_ANSWER_MS):
            raise TimeoutError(f"the server did not answer within {_ANSWER_MS / 1e3:g} s")
        message: list[Any] = msgpack.unpackb(self._dealer.recv())
        if message[0] != number:
            raise RuntimeError(f"expected message {number}, got {message}")
        return message
