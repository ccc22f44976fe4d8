"""Pre-touch on against off, tick by tick in turn between two servers of one file. `make bench` runs it.

Target at 50 Hz: inference p50 at least three times faster with it, and the round trip's p99 no worse.
"""

from contextlib import ExitStack, closing
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from rich.table import Table

from odeploy_runtime.realtime.clock import MonotonicClock, Rate
from odeploy_runtime.realtime.machine import machine_line
from odeploy_runtime.realtime.scheduling import real_time
from odeploy_runtime.realtime.serving import serving
from odeploy_runtime.robot.client import RobotClient
from odeploy_runtime.robot.connect import connect
from odeploy_runtime.transport import messages
from odeploy_sim.catalogue.mazes import MAZE_MEDIUM
from odeploy_sim.tasks.env import TaskEnv
from tests.policies import policy_bytes

RATE_HZ, TICKS, SETTLING = 50.0, 4000, 100
S = 1_000_000_000
MODES = {"on": "--pre-touch", "off": "--no-pre-touch"}
CLOCK = MonotonicClock()


@pytest.mark.timing
@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", ["mlp", "flow"])
def test_a_server_with_pre_touch_infers_faster(kind: str, tmp_path: Path) -> None:
    file = tmp_path / "policy.onnx"
    file.write_bytes(policy_bytes("maze-medium", kind, width=256, steps=10))
    durations = measure(file)
    columns = "inference p50 µs", "p99 µs", "round trip p50 µs", "p99 µs"
    table = Table("pre-touch", *columns, title=f"{kind}, {RATE_HZ:g} Hz each, in turn, {machine_line()}")
    for mode, times in durations.items():
        table.add_row(mode, *(f"{np.percentile(part, q) / 1e3:.0f}" for part in times.T for q in (50, 99)))
    faster = np.median(durations["off"][:, 0]) / np.median(durations["on"][:, 0])
    table.add_row("off ÷ on", f"{faster:.2f}", "", "", "")
    Console(width=110).print(table)
    assert faster > 1


def measure(file: Path) -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.int64]]]:
    """Return inference and round trip [ns] of both servers. Shape (ticks, 2)."""
    env, task = TaskEnv(MAZE_MEDIUM), MAZE_MEDIUM
    names = list(task.observation_names), list(task.action_names)
    hello = messages.Hello(messages.PROTOCOL, "bench", task.name, RATE_HZ, 0, *names)
    durations: dict[str, list[tuple[int, int]]] = {mode: [] for mode in MODES}
    with ExitStack() as stack:
        stack.callback(env.close)
        clients = {}
        for mode, option in MODES.items():
            link = connect(stack.enter_context(serving(file, [option])), CLOCK)
            clients[mode] = stack.enter_context(closing(RobotClient(link, hello, CLOCK, 5)))
        stack.enter_context(real_time())
        observation, rate = env.reset(0), Rate(len(MODES) * RATE_HZ, CLOCK)
        for k in range(TICKS):
            mode = list(MODES)[k % len(MODES)]
            rate.wait()
            sent_ns = clients[mode].send(0, k, messages.to_bytes(observation))
            arrival = clients[mode].receive(0, k, sent_ns + S)
            assert arrival is not None
            if k >= SETTLING:
                m = arrival.message
                durations[mode].append((m.inferred_ns - m.started_ns, arrival.arrived_ns - sent_ns))
            step = env.step(np.array(task.safe_action, np.float32))
            observation = env.reset(k) if step.done else step.observation
    return {mode: np.array(times, np.int64) for mode, times in durations.items()}
