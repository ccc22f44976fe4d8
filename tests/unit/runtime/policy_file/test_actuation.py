"""The actuator loop against closed forms: a unit mass under a PD law, straight lines, held setpoints."""

from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from odeploy_runtime.policy_file.actuation import PD, Actuation, Actuator

MS = 1_000_000
T = 20 * MS  # period of a policy at 50 Hz
LOOSE = 1e9
angles = st.floats(-3, 3)


def actuator(
    interpolation: Literal["hold", "linear"], pd: PD | None = None, joints: int = 2, rate_hz: float = 500.0
) -> Actuator:
    return Actuator(Actuation(rate_hz, interpolation, pd), joints, policy_rate_hz=50.0)


def pd_law(p: float, d: float, pose: float = 0.0, limit: float = LOOSE, joints: int = 1) -> PD:
    return PD((p,) * joints, (d,) * joints, (pose,) * joints, (limit,) * joints)


def nowhere(joints: int) -> tuple[Any, Any]:
    return np.zeros(joints), np.zeros(joints)


def test_a_held_setpoint_is_a_zero_order_hold() -> None:
    loop, targets = actuator("hold", joints=1), [0.3, -0.7, 0.1]
    got = []
    for tick, target in enumerate(targets):
        loop.command(tick * T, np.array([target]))
        got += [loop.step(tick * T + i * 2 * MS, *nowhere(1))[0] for i in range(10)]
    assert got == np.repeat(targets, 10).tolist()


@given(st.lists(angles, min_size=1, max_size=5), angles)
def test_a_linear_setpoint_reaches_its_target_in_one_tick_and_is_halfway_at_half_time(
    targets: list[float], start: float
) -> None:
    loop, before = actuator("linear", joints=1), start
    loop.begin(np.array([start]))
    for tick, target in enumerate(targets):
        loop.command(tick * T, np.array([target]))
        assert loop.step(tick * T, *nowhere(1))[0] == before
        assert loop.step(tick * T + T // 2, *nowhere(1))[0] == pytest.approx((before + target) / 2)
        assert loop.step((tick + 1) * T, *nowhere(1))[0] == target  # to the bit
        before = target


def test_a_late_command_starts_from_the_last_target_and_an_early_one_makes_no_jump() -> None:
    loop = actuator("linear", joints=1)
    loop.command(0, np.array([1.0]))
    assert loop.setpoint(5 * T)[0] == 1.0
    loop.command(5 * T, np.array([2.0]))
    assert loop.setpoint(5 * T + T // 4)[0] == pytest.approx(1.25)
    loop.command(5 * T + T // 4, np.array([0.25]))
    assert loop.setpoint(5 * T + T // 4)[0] == pytest.approx(1.25)
    assert loop.setpoint(6 * T + T // 4)[0] == 0.25


def test_a_unit_mass_under_a_critically_damped_law_follows_the_closed_form() -> None:
    omega, target, dt_ns = 20.0, 0.5, MS // 10
    loop = actuator("hold", pd_law(omega**2, 2 * omega, pose=0.2), joints=1, rate_hz=10_000.0)
    loop.command(0, np.array([target - 0.2]))
    position, velocity = np.zeros(1), np.zeros(1)
    for i in range(5000):
        t = i * dt_ns * 1e-9
        assert position[0] == pytest.approx(target * (1 - (1 + omega * t) * np.exp(-omega * t)), abs=1e-3)
        velocity = velocity + loop.step(i * dt_ns, position, velocity) * dt_ns * 1e-9
        position = position + velocity * dt_ns * 1e-9
    assert position[0] == pytest.approx(target, abs=1e-3)


@given(st.lists(st.tuples(angles, angles, angles), min_size=1, max_size=10))
def test_torques_follow_the_pd_law_within_their_limits(joints: list[tuple[float, float, float]]) -> None:
    n = len(joints)
    setpoint, position, velocity = np.array(joints).T
    loop = actuator("hold", pd_law(30.0, 2.0, 0.1, limit=4.0, joints=n), joints=n)
    loop.command(0, setpoint)
    expected = np.clip(30.0 * (0.1 + setpoint - position) - 2.0 * velocity, -4, 4)
    np.testing.assert_allclose(loop.step(0, position, velocity), expected, atol=1e-12)


def test_an_episode_begins_at_the_joints_positions() -> None:
    loop = actuator("linear", pd_law(10.0, 0.0, pose=0.4, joints=2))
    position = np.array([1.0, -2.0])
    loop.begin_at(position)
    loop.command(0, np.array([0.5, 0.5]))
    np.testing.assert_allclose(loop.step(0, position, np.zeros(2)), 0, atol=1e-12)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", ["position", "velocity"])
def test_with_a_non_finite_sensor_value_the_torque_is_zero(bad: float, where: str) -> None:
    loop, fine, broken = actuator("hold", pd_law(10.0, 1.0, joints=2)), np.ones(2), np.array([0.0, bad])
    arguments = (broken, fine) if where == "position" else (fine, broken)
    assert loop.step(0, *arguments).tolist() == [0, 0]
    assert loop.not_finite == 1
    assert loop.step(0, fine, fine).tolist() == [-11, -11]
    assert loop.not_finite == 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PD((1.0,), (1.0, 2.0), (0.0,), (1.0,)), r"joints: \[1, 2\]"),
        (lambda: pd_law(-1.0, 0.0), "not negative"),
        (lambda: pd_law(1.0, -1.0), "not negative"),
        (lambda: pd_law(1.0, 1.0, limit=0.0), "torque limits positive"),
        (lambda: Actuation(120.0, "hold").fit(2, 50.0), "an actuator of 120 Hz under a policy of 50 Hz"),
        (lambda: Actuation(25.0, "hold").fit(2, 50.0), "an actuator of 25 Hz"),
        (lambda: Actuation(float("inf"), "hold").fit(2, 50.0), "an actuator of inf Hz"),
        (lambda: Actuation(500.0, "hold", pd_law(1.0, 1.0)).fit(2, 50.0), "gains of 1 joints for 2"),
    ],
)
def test_an_invalid_actuation_is_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_a_rate_that_is_a_multiple_up_to_rounding_is_accepted() -> None:
    Actuation(1000.0, "linear", pd_law(1.0, 1.0)).fit(1, 1 / 0.015 * 1.5)
    Actuation(50.0, "hold").fit(3, 50.0)
