"""The shadow: another policy that gets the same observations as the served one, and moves nothing.

It runs in a process of its own. For each sent action the loop also sends it the observation and the action, in
one packet that is dropped if the shadow is busy: that costs microseconds, whatever happens to the shadow. The
shadow computes its own answer from the same noise, and sums for each signal how far the two differ, on unit
scale: in memory that the server reads, and as a line of JSON each second.
"""

import json
import os
import socket
import struct
import subprocess
import sys
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from odeploy_runtime.hot_swap.proving import in_memory, proven, require_proven
from odeploy_runtime.inference.policy import Policy
from odeploy_runtime.inference.policy_state import PolicyState
from odeploy_runtime.policy_file.file import parse
from odeploy_runtime.realtime.child_process import python_module
from odeploy_runtime.realtime.clock import Clock, MonotonicClock
from odeploy_runtime.realtime.counters import CounterNames, Counters, shareable
from odeploy_runtime.signals import half_ranges
from odeploy_runtime.transport import messages as wire

_HEAD = struct.Struct("<5Q")  # session, seed, episode, seq, policy epoch
_MOST_BYTES = 2 * wire.MAX_FRAME_BYTES
_LINE_EVERY_NS = 1_000_000_000
_NANO, _MOST = 1e-9, 2**62
_MOST_SESSIONS = 64
_END_S = 1.0


class Divergence(NamedTuple):
    """How far a shadow's actions differ from those of the served policy, since that one is served.

    Attributes:
        compared: ticks.
        mean, max: of |shadow - served| on unit scale. Shape (A,), over all actions of the horizon.
    """

    compared: int
    mean: NDArray[np.float32]
    max: NDArray[np.float32]


class Shadow:
    """The server's end.

    Attributes:
        manifest, fingerprint: of its file.
    """

    def __init__(
        self, data: bytes, where: str, provider: str, signers: Path | None, actions: int, out: int
    ) -> None:
        """Start the process, and wait until it has proven the file.

        Args:
            data: of the policy file.
            where: its path, for messages.
            provider: execution provider.
            signers: see `odeploy_runtime.hot_swap.proving.prove`.
            actions: A of the served policy.
            out: descriptor of the file for the lines.

        Raises:
            RelayedError, WorkerError: the file is refused, or the process died.
        """
        names, self._actions = shadow_names(actions), actions
        memory = shareable(names)
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        descriptors = theirs.fileno(), memory, out
        command = python_module("odeploy_runtime.hot_swap.shadow", *map(str, descriptors), where, provider)
        try:
            with theirs, in_memory(data) as standard_input:
                self._process = subprocess.Popen(
                    [*command, *([str(signers)] if signers else [])],
                    pass_fds=descriptors,
                    stdin=standard_input,
                    stdout=subprocess.PIPE,
                    start_new_session=True,
                )
            self._counters = Counters(names, memory)
        finally:
            os.close(memory)
        self._socket.setblocking(False)
        try:
            require_proven(self._process, where)
            file = parse(Path(where), data)
        except BaseException:
            self.close()
            raise
        self.manifest, self.fingerprint = file.manifest, file.fingerprint

    def feed(self, seed: int, message: wire.Observation, action: wire.Action) -> bool:
        """Send one tick; return False if it was dropped."""
        head = _HEAD.pack(message.session, seed, message.episode, message.seq, action.policy_epoch)
        try:
            self._socket.send(head + message.values + action.values)
        except OSError:  # busy, dead, or ended just now
            return False
        return True

    def divergence(self) -> Divergence:
        """Return what it has found so far."""
        return read_divergence(self._counters, self._actions)

    def close(self) -> None:
        """End the process; it writes its last line."""
        self._socket.close()
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


class Comparison:
    """The shadow's end: answers each tick and sums the differences."""

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
        session, seed, episode, seq, epoch = _HEAD.unpack_from(packet)
        if epoch != self._epoch:
            self._write_line()
            self._begin(epoch)
        values = packet[_HEAD.size :]
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
        for i in range(self._shape[1]):
            self._counters.set(f"mean:{i}", round(min(mean[i] / _NANO, _MOST)))
            self._counters.set(f"max:{i}", round(min(self._max[i] / _NANO, _MOST)))
        self._counters.set("compared", self._compared)

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


def shadow_names(actions: int) -> CounterNames:
    """Return the names of the numbers that a shadow publishes, for A signals."""
    divergence = (f"{kind}:{i}" for kind in ("mean", "max") for i in range(actions))
    return CounterNames("shadow", ("compared",), tuple(divergence))


def read_divergence(counters: Counters, actions: int) -> Divergence:
    """Read a divergence from the memory that a shadow writes."""
    mean, largest = (
        np.array([counters[f"{kind}:{i}"] * _NANO for i in range(actions)], np.float32) for kind in ("mean", "max")
    )
    return Divergence(counters["compared"], mean, largest)


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
