"""Task files with a model: what is derived, what they override, and their faults."""

from pathlib import Path

import pytest

from odeploy_runtime.errors import FormatError, MissingError
from odeploy_sim.own_tasks.reference import resolve
from tests.unit.sim_bridge.mjcf.models import HEAD, LEG, OBSERVED, written

NARROW = """
[[action]]
name = "hip"
unit = "rad"
low = -0.5
high = 0.5
[[action]]
name = "knee"
unit = "rad"
low = -1
high = 0
"""


def test_names_units_limits_and_steps_are_derived(tmp_path: Path) -> None:
    task = resolve(str(written(tmp_path)))
    assert (task.observation_names, task.action_names) == (
        ("hip_angle", "knee_angle"),
        ("hip_target", "knee_target"),
    )
    assert (task.rate_hz, task.physics_step_s, task.scored_by) == (50, 0.002, "return")
    assert task.safe_action == (0, 0)


def test_success_is_the_score_where_the_file_defines_it(tmp_path: Path) -> None:
    rest = OBSERVED + 'success = { of = "foot", to = "goal", within_m = 0.1 }\n'
    assert resolve(str(written(tmp_path, rest))).scored_by == "success"


def test_lists_of_signals_override_the_derived_ones(tmp_path: Path) -> None:
    task = resolve(str(written(tmp_path, OBSERVED + NARROW)))
    assert task.action_names == ("hip", "knee")
    assert (task.action[0].low, task.action[0].high) == (-0.5, 0.5)


@pytest.mark.parametrize(
    ("rest", "head", "error", "message"),
    [
        (OBSERVED, HEAD.replace("rate_hz = 50\n", ""), FormatError, "leg.toml at rate_hz: expected a value"),
        (OBSERVED, HEAD.replace("50", "60"), FormatError, "rate_hz: .* steps of 2 ms, got 60 Hz, 8.333 steps"),
        (OBSERVED, 'gym = "Reacher-v5"\n' + HEAD, FormatError, "expected one environment, got gym and mjcf"),
        (OBSERVED, HEAD.replace("leg.xml", "log.xml"), MissingError, "at mjcf.model: expected an MJCF file"),
        (OBSERVED + "flor = true\n", HEAD, FormatError, "at mjcf: expected a known field such as floor, got flor"),
        ('observe = [{ trem = "x" }]\n', HEAD, FormatError, r"at mjcf.observe\[0\]: .* such as term, got trem"),
        (OBSERVED + "pd = { p_gain = 2 }\n", HEAD, FormatError, "at mjcf.pd: .* such as p_gains, got p_gain"),
        ("", HEAD, FormatError, r"mjcf.observe: expected a value"),
        (OBSERVED + "floor = 1\n", HEAD, FormatError, "mjcf.floor: expected bool, got int"),
        (OBSERVED + NARROW[: NARROW.index("[[", 5)], HEAD, FormatError, "expected 2 signals, .* got 1"),
        (OBSERVED + "pd = { p_gains = 1, d_gains = 1, rate_hz = 25 }\n", HEAD, FormatError, "multiple of rate_hz"),
    ],
)
def test_a_fault_names_file_field_and_remedy(
    tmp_path: Path, rest: str, head: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        resolve(str(written(tmp_path, rest, head)))


def test_the_model_is_found_beside_the_file_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path)
    monkeypatch.chdir("/")
    assert resolve(str(path)).reference == str(path)
    assert (tmp_path / "leg.xml").read_text() == LEG
