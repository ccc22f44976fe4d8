"""A robot at 200 Hz whose server swaps policies repeatedly: misses, and which policy computed each action.

    python -m tests.faults.swap_under_load --seconds 120 --every 5

The two files are of different types, so each swap also changes the noise contract. Misses are counted in three
groups: within 50 ms of a switch; while a swap is in progress (a child process checks the file, then the server
loads it); otherwise. The machine's other work affects all three, so only their ratio describes swaps.
"""

import itertools
import signal
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro
import zmq
from numpy.typing import NDArray

from odeploy_runtime.hot_swap.control_socket import control_path, request
from odeploy_runtime.inference.noise import NoiseSource
from odeploy_runtime.inference.policy import load_policy
from odeploy_runtime.policy_file.file import read
from odeploy_runtime.realtime.clock import MonotonicClock
from odeploy_runtime.realtime.scheduling import RealTimeOptions
from odeploy_runtime.server.health import request_health
from odeploy_runtime.trace.format import APPLIED, STAMPS, Trace
from odeploy_runtime.trace.reader import read_trace
from odeploy_runtime.transport.sockets import connect_dealer
from odeploy_sim.catalogue.multigoal import MULTIGOAL
from tests.faults.test_safety_states import served
from tests.integration.programs import started
from tests.policies import policy_bytes

_DUE = STAMPS.index("due")
_SEED = 5
_NEAR_NS = 50_000_000


@dataclass(frozen=True)
class Config(RealTimeOptions):
    """Options of a robot's run under swaps."""

    seconds: float = 120.0
    """Duration of the run [s]."""
    every: float = 5.0
    """Time from one swap to the next [s]."""
    rate: float = 200.0
    """Control rate [Hz]."""
    shadow: bool = False
    """Run a shadow policy as well."""


@dataclass(frozen=True)
class Run:
    """Results of one run under swaps.

    Attributes:
        trace: the robot's trace.
        policies: fingerprint and file of each epoch, in order.
        requests: begin and end of each request for a swap [ns].
        replies: the server's reply to each request.
    """

    trace: Trace
    policies: list[tuple[str, Path]]
    requests: list[tuple[int, int]]
    replies: list[str]

    def switches_ns(self) -> NDArray[np.int64]:
        """Return when the first tick of each epoch after the first was due."""
        ran = self.trace.rows[self.trace.rows["kind"] == APPLIED]
        changed = np.flatnonzero(np.diff(ran["epoch"])) + 1
        return np.array(ran["stamps"][changed, _DUE], np.int64)

    def misses(self) -> dict[str, tuple[int, int]]:
        """Return (missed, due) ticks `near` a switch, with a swap `in progress` outside that, and `otherwise`."""
        due, missed = self.trace.rows["stamps"][:, _DUE], self.trace.rows["kind"] != APPLIED
        near, in_progress = np.zeros(len(due), bool), np.zeros(len(due), bool)
        for switch_ns in self.switches_ns():
            near |= np.abs(due - switch_ns) <= _NEAR_NS
        for begin_ns, end_ns in self.requests:
            in_progress |= (due >= begin_ns) & (due <= end_ns)
        groups = {"near": near, "in progress": in_progress & ~near, "otherwise": ~(in_progress | near)}
        return {name: (int(missed[which].sum()), int(which.sum())) for name, which in groups.items()}

    def attributed(self) -> Counter[int]:
        """Return the number of applied actions per epoch; each equals its file's answer to the bit.

        Raises:
            AssertionError: an action differs.
        """
        loaded = {path: load_policy(read(path), "auto") for _, path in set(self.policies)}
        noise = {path: NoiseSource(policy.manifest.noise, _SEED) for path, policy in loaded.items()}
        found = Counter[int]()
        for row in self.trace.rows[self.trace.rows["kind"] == APPLIED]:
            fingerprint, path = self.policies[row["epoch"] - 1]
            assert loaded[path].fingerprint == fingerprint
            drawn = noise[path].draw(int(row["episode"]), int(row["tick"]))
            assert np.array_equal(loaded[path].infer(row["observation"], drawn)[0], row["offered"]), row
            found[int(row["epoch"])] += 1
        return found


def drive(folder: Path, config: Config) -> Run:
    """Run server and robot, swap policies, and stop both."""
    files = {"mlp": folder / "mlp.onnx", "flow": folder / "flow.onnx"}
    for kind, path in files.items():
        path.write_bytes(policy_bytes(MULTIGOAL.name, kind))
    socket, trace = folder / "s.ipc", folder / "t.trace"
    endpoint, control = f"ipc://{socket}", control_path(f"ipc://{socket}")
    assert control is not None
    requests, replies = [], []
    with served(files["mlp"], socket, *config.for_server()):
        while not control.exists():
            time.sleep(0.01)
        if config.shadow:
            swap(endpoint, "shadow", files["flow"], folder / "shadow.jsonl")
        options = ["--endpoint", endpoint, "--trace", str(trace), "--rate", str(config.rate), "--seed", str(_SEED)]
        options += config.for_robot()
        robot = started("sim", MULTIGOAL.name, "--episodes", "1000000", *options)
        while not trace.exists():
            assert robot.poll() is None, robot.communicate()[0]
            time.sleep(0.01)
        end = time.monotonic() + config.seconds
        for kind in itertools.cycle(("flow", "mlp")):
            time.sleep(config.every)
            if time.monotonic() > end:
                break
            begin_ns = time.monotonic_ns()
            replies.append(swap(endpoint, "swap", files[kind]))
            requests.append((begin_ns, time.monotonic_ns()))
        fingerprints = served_fingerprints(endpoint)
        robot.send_signal(signal.SIGINT)
        output, _ = robot.communicate(timeout=60)
        assert robot.returncode == 130, output
    kinds = itertools.cycle(files.values())
    return Run(read_trace(trace), list(zip(fingerprints, kinds, strict=False)), requests, replies)


def swap(endpoint: str, command: str, path: Path, *out: Path) -> str:
    """Request a server to swap to a file, or to run it as a shadow."""
    with path.open("rb") as file:
        opened = [each.open("ab") for each in out]
        try:
            return request(endpoint, [command, str(path)], [file.fileno(), *(each.fileno() for each in opened)])
        finally:
            for each in opened:
                each.close()


def served_fingerprints(endpoint: str) -> list[str]:
    """Return the fingerprint of each epoch, from the server's health."""
    with zmq.Context[zmq.Socket[bytes]]() as context, connect_dealer(context, endpoint) as dealer:
        return request_health(dealer, endpoint, MonotonicClock(), 20.0).fingerprints


def main() -> None:
    """Print misses, durations of swaps, and the number of recomputed actions."""
    config = tyro.cli(Config)
    with tempfile.TemporaryDirectory(prefix="odeploy-") as folder:
        run = drive(Path(folder), config)
        for name, (missed, due) in run.misses().items():
            print(f"{name}: {missed} of {due} ticks missed, {missed / max(1, due):.2%}")
        print(*(line.rpartition("; ")[2] for line in run.replies), sep="\n")
        print(
            f"{len(run.switches_ns())} switches seen by the robot; actions of each epoch, recomputed to the bit:"
        )
        print(dict(run.attributed()))


if __name__ == "__main__":
    main()
