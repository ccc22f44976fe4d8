"""The shadow's process: answers each tick itself and sums the differences."""

import json
import socket
import sys
from pathlib import Path
from typing import IO

import numpy as np

from odeploy_runtime.hot_swap.divergence import HEAD, shadow_names, write_divergence
from odeploy_runtime.hot_swap.proving import proven
from odeploy_runtime.inference.policy import Policy
from odeploy_runtime.inference.policy_state import PolicyState
from odeploy_runtime.realtime.clock import Clock, MonotonicClock
from odeploy_runtime.realtime.counters import Counters
from odeploy_runtime.signals import half_ranges
from odeploy_runtime.transport import messages

_MOST_BYTES = 2 * messages.MAX_FRAME_BYTES
_LINE_EVERY_NS = 1_000_000_000
_MOST_SESSIONS = 64


class Comparison:
    """Differences between served actions and those of another policy."""

    def __init__(self, policy: Policy, counters: Counters, out: IO[str], clock: Clock) -> None:
        m = policy.manifest
        self._policy, self._counters, self._out, self._clock = policy, counters, out, clock
        self._scale = half_ranges(m.action)
        self._sensed, self._shape = len(m.raw_names), (m.horizon, len(m.action))
        self._robots: dict[int, PolicyState] = {}
        self._written_ns = clock.now_ns()
        self._sum, self._max = np.zeros(len(m.action)), np.zeros(len(m.action))
        self._begin(0)

    def tick(self, packet: bytes) -> None:
        """Compare one observation's served action with this policy's."""
        session, seed, episode, seq, epoch = HEAD.unpack_from(packet)
        if epoch != self._epoch:
            self._write_line()
            self._begin(epoch)
        values = packet[HEAD.size :]
        raw = np.frombuffer(values, "<f4", self._sensed)
        served = np.frombuffer(values, "<f4", offset=raw.nbytes).reshape(self._shape)
        own = self._state(session, seed).answer(self._policy, 0, episode, seq, raw)
        # NaN counts as infinitely far away.
        apart = np.nan_to_num(np.abs(own - served) / self._scale, nan=np.inf)
        self._compared += 1
        self._sum += apart.mean(axis=0)
        np.maximum(self._max, apart.max(axis=0), out=self._max)
        self._publish()
        if self._clock.now_ns() - self._written_ns >= _LINE_EVERY_NS:
            self._write_line()

    def end(self) -> None:
        """Write the last line."""
        self._write_line()

    def _state(self, session: int, seed: int) -> PolicyState:
        if session not in self._robots:
            if len(self._robots) >= _MOST_SESSIONS:
                del self._robots[next(iter(self._robots))]
            self._robots[session] = PolicyState(self._policy.manifest, seed)
        return self._robots[session]

    def _begin(self, epoch: int) -> None:
        self._epoch, self._compared = epoch, 0
        self._sum.fill(0)
        self._max.fill(0)
        self._publish()

    def _publish(self) -> None:
        mean = self._sum / max(1, self._compared)
        write_divergence(self._counters, self._compared, mean, self._max)

    def _write_line(self) -> None:
        """Write a line: the differences since the served policy's first tick."""
        self._written_ns = self._clock.now_ns()
        if not self._compared:
            return
        mean, names = self._sum / self._compared, self._policy.manifest.action_names
        line = {
            "shadow": self._policy.fingerprint,
            "policy_epoch": self._epoch,
            "compared": self._compared,
            "mean": {name: _finite(value) for name, value in zip(names, mean, strict=True)},
            "max": {name: _finite(value) for name, value in zip(names, self._max, strict=True)},
        }
        self._out.write(json.dumps(line) + "\n")
        self._out.flush()


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def main(descriptor: int, memory: int, out: int, where: str, provider: str, signers: Path | None) -> None:
    """Run the process: prove its file, then compare until the server's end closes."""
    policy = proven(where, provider, signers)
    if policy is None:
        return
    counters = Counters(shadow_names(len(policy.manifest.action)), memory)
    with socket.socket(fileno=descriptor) as server, open(out, "w") as lines:
        comparison = Comparison(policy, counters, lines, MonotonicClock())
        while packet := server.recv(_MOST_BYTES):
            comparison.tick(packet)
        comparison.end()


if __name__ == "__main__":
    _socket, _memory, _out = map(int, sys.argv[1:4])
    main(_socket, _memory, _out, sys.argv[4], sys.argv[5], Path(sys.argv[6]) if sys.argv[6:] else None)
