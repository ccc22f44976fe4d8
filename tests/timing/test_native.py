"""The native backend against ONNX Runtime, tick by tick in turn on one grid. `make bench` runs it.

The physics steps after each inference and evicts both from the caches. `touched` runs the inference twice
beforehand, as the server does. Target: at most half of ONNX Runtime's p50 at 50 and 500 Hz.
"""

import shutil
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from rich.table import Table

from odeploy_runtime.inference.native_policy import NativePolicy
from odeploy_runtime.inference.onnx_policy import OnnxPolicy
from odeploy_runtime.policy_file.file import parse
from odeploy_runtime.realtime.clock import MonotonicClock, Rate
from odeploy_runtime.realtime.machine import machine_line
from odeploy_runtime.realtime.pretouch import PreTouch
from odeploy_runtime.realtime.scheduling import real_time
from odeploy_sim.catalogue.mazes import MAZE_MEDIUM
from odeploy_sim.tasks.env import TaskEnv
from tests.policies import policy_bytes

TICKS = {50.0: 400, 500.0: 2000}
SETTLING = 40
RATIO = "native ÷ ONNX Runtime"

Policies = dict[str, OnnxPolicy | NativePolicy]


@pytest.mark.timing
@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
@pytest.mark.parametrize("kind", ["mlp", "flow"])
def test_the_native_backend_takes_less_time_than_onnx_runtime(kind: str) -> None:
    file = parse(Path(f"{kind}.onnx"), policy_bytes("maze-medium", kind, width=256, steps=10))
    policies: Policies = {"ONNX Runtime": OnnxPolicy(file), "native": NativePolicy(file)}
    table = Table("Hz", "", "", "p50 µs", "p90 µs", "p99 µs", title=f"{kind}, in turn, {machine_line()}")
    for rate_hz in TICKS:
        for touched in (False, True):
            durations = measure(policies, rate_hz, touched)
            p50 = {name: float(np.median(times)) for name, times in durations.items()}
            state = "touched" if touched else "bare"
            for name, times in durations.items():
                columns = (f"{np.percentile(times, q) / 1e3:.0f}" for q in (50, 90, 99))
                table.add_row(f"{rate_hz:g}", state, name, *columns)
            ratio = p50["native"] / p50["ONNX Runtime"]
            table.add_row("", "", RATIO, f"{ratio:.3f}")
            assert ratio < 1, f"{rate_hz:g} Hz, {state}"
    Console(width=110).print(table)


def measure(policies: Policies, rate_hz: float, touched: bool) -> dict[str, list[int]]:
    """Return the durations of inference [ns] of the policies in turn."""
    clock, env, names = MonotonicClock(), TaskEnv(MAZE_MEDIUM), list(policies)
    touches = {name: PreTouch(policy.hot_call_ns, clock) for name, policy in policies.items()}
    noise = np.zeros((1, *next(iter(policies.values())).manifest.noise.shape), np.float32)
    safe = np.array(MAZE_MEDIUM.safe_action, np.float32)
    durations: dict[str, list[int]] = {name: [] for name in names}
    observation = env.reset(0)
    with real_time():
        rate = Rate(rate_hz, clock)
        for k in range(TICKS[rate_hz]):
            name = names[k % len(names)]

            def before(due_ns: int, name: str = name, observation: np.ndarray = observation) -> None:
                begin_ns = touches[name].begin_ns(due_ns, rate.period_ns)
                if touched and begin_ns is not None and begin_ns > clock.now_ns():
                    clock.sleep_until_ns(begin_ns)
                    touches[name].run(lambda: policies[name].infer(observation, noise))

            rate.wait(before)
            start_ns = clock.now_ns()
            policies[name].infer(observation, noise)
            if k >= SETTLING:
                durations[name].append(clock.now_ns() - start_ns)
            step = env.step(safe)
            observation = env.reset(k) if step.done else step.observation
    env.close()
    return durations
