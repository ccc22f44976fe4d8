"""Inference time against the control period, on a clock that only the policy advances."""

import pytest

from odeploy_runtime.testing import FakeClock
from odeploy_sim.doctor.speed import check_speed
from tests.unit.sim_bridge.doctor.function_policy import FunctionPolicy


def seen(took_us: float, every: int = 1, slow_us: float = 0) -> tuple[str, list[str]]:
    """Return text and severities for a policy at 100 Hz with every `every`-th call slow."""
    clock, calls = FakeClock(), iter(range(10**6))

    def act(_: object) -> list[float]:
        slow = slow_us and next(calls) % every == 0
        clock.ns += int((slow_us if slow else took_us) * 1000)
        return [0.0, 0.0]

    text, findings = check_speed(FunctionPolicy(act), 100.0, clock)
    return text, [f.severity for f in findings]


def test_a_fast_policy_has_its_figures_and_no_finding() -> None:
    text, severities = seen(120)
    assert text.startswith("p50 120 µs, p99 120 µs of 200 paced calls; a tick at 100 Hz has 10000 µs")
    assert severities == []


@pytest.mark.parametrize(
    ("took_us", "every", "slow_us", "severity"), [(120, 50, 6000, "warning"), (11_000, 1, 0, "error")]
)
def test_a_slow_policy_is_a_warning_or_an_error(took_us: float, every: int, slow_us: float, severity: str) -> None:
    assert seen(took_us, every, slow_us)[1] == [severity]


def test_a_single_slow_call_has_no_finding() -> None:
    assert seen(120, 500, 6000)[1] == []
