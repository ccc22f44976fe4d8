"""A server's health as numbers: rates between two answers, and the shadow's divergence."""

import json

import pytest

from odeploy_runtime.server.health import as_json, divergence, rates
from odeploy_runtime.transport import messages
from tests.unit.runtime.fakes import floats

S = 1_000_000_000
BEFORE = messages.Health(
    1, 1, "teacher", "a" * 64, 1, 10 * S, 2, 1000, 3, 4, 5, 6, 1_000_000, ["a" * 64], ["x", "y"]
)
NOW = BEFORE._replace(up_ns=12 * S, actions=1400, inference_ns=21_000_000)
SHADOWED = NOW._replace(
    policy_epoch=2,
    fingerprints=["b" * 64, "a" * 64],
    shadow="c" * 64,
    shadow_compared=100,
    shadow_dropped=7,
    shadow_mean=floats(0.5, 0.25),
    shadow_max=floats(1.0, 2.0),
)


def test_rates_are_taken_between_two_answers() -> None:
    assert rates(BEFORE, NOW) == {"actions_hz": pytest.approx(200), "inference_mean_us": pytest.approx(50)}


def test_without_answers_the_mean_inference_time_is_none() -> None:
    assert rates(BEFORE, BEFORE._replace(up_ns=11 * S)) == {"actions_hz": 0, "inference_mean_us": None}
    assert rates(BEFORE, BEFORE)["actions_hz"] is None


def test_health_is_available_as_json() -> None:
    assert as_json(BEFORE, NOW)["shadow"] is None
    parsed = json.loads(json.dumps(as_json(BEFORE, SHADOWED)))
    assert parsed["fingerprints"] == ["b" * 64, "a" * 64]
    assert parsed["shadow"] == {
        "fingerprint": "c" * 64,
        "compared": 100,
        "dropped": 7,
        "divergence": {"x": {"mean": 0.5, "max": 1.0}, "y": {"mean": 0.25, "max": 2.0}},
    }


def test_divergence_is_by_signal() -> None:
    assert divergence(SHADOWED) == [("x", 0.5, 1.0), ("y", 0.25, 2.0)]
    assert divergence(NOW) == []
