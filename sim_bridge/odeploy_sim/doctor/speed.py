"""Check that inference fits into the control period, with one call per tick."""

import numpy as np

from odeploy_runtime.inference.noise import NoiseSource
from odeploy_runtime.inference.policy import Policy
from odeploy_runtime.realtime.clock import Clock, Rate
from odeploy_runtime.reports.statistics import percentiles_us
from odeploy_sim.doctor.findings import Finding

_CALLS = 200
_SLOWEST_HZ = 100.0  # of the measurement: at 20 Hz it would take ten seconds
_COMFORT = 0.5


def check_speed(policy: Policy, rate_hz: float, clock: Clock) -> tuple[str, list[Finding]]:
    """Return p50 and p99 of paced calls beside the period, as text, and the findings."""
    m = policy.manifest
    observation = np.zeros(len(m.observation), np.float32)
    source, rate, took_ns = NoiseSource(m.noise, 0), Rate(max(rate_hz, _SLOWEST_HZ), clock), []
    for seq in range(_CALLS):
        noise = source.draw(0, seq)
        rate.wait()
        start_ns = clock.now_ns()
        policy.infer(observation, noise)
        took_ns.append(clock.now_ns() - start_ns)
    p = percentiles_us(np.array(took_ns))
    p50, p99, period = float(p["p50"] or 0), float(p["p99"] or 0), 1e6 / rate_hz
    measured = (
        f"p50 {p50:.0f} µs, p99 {p99:.0f} µs of {_CALLS} paced calls; a tick at {rate_hz:g} Hz has {period:.0f} µs"
    )
    remedy = "take fewer solver steps, distil, or lower the rate; then measure with odeploy bench"
    if p50 > period:
        return measured, [Finding("error", "too slow", "file", measured, remedy)]
    if p99 > _COMFORT * period:
        return measured, [Finding("warning", "too slow", "file", measured, remedy)]
    return measured, []
