"""`--actuation`: the file's numbers, or what the task's own robot has."""

from pathlib import Path

import pytest

import odeploy_export.toml_files as option
from odeploy_export.toml_files import actuation_for
from odeploy_runtime.errors import FormatError, MissingError
from odeploy_runtime.policy_file.actuation import Actuation
from odeploy_sim.catalogue import get
from odeploy_sim.catalogue.arm_track import ARM_TRACK
from odeploy_sim.environments.arm_track import SERVO

assert option.__doc__ is not None
EXAMPLE = option.__doc__.split("\n\n", 1)[1]


def written(folder: Path, text: str) -> Path:
    path = folder / "servo.toml"
    path.write_text(text)
    return path


def test_the_example_of_the_docstring_is_the_arms_servo(tmp_path: Path) -> None:
    assert actuation_for(ARM_TRACK, written(tmp_path, EXAMPLE)) == SERVO


def test_without_a_file_it_is_what_the_tasks_robot_has() -> None:
    assert actuation_for(ARM_TRACK, None) is SERVO
    assert actuation_for(get("hopper"), None) is None


def test_a_file_goes_before_what_the_tasks_robot_has(tmp_path: Path) -> None:
    file = written(tmp_path, 'rate_hz = 100\ninterpolation = "hold"\n')
    assert actuation_for(ARM_TRACK, file) == Actuation(100.0, "hold")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("rate_hz = ", "Invalid value"),
        ('rate_hz = 110\ninterpolation = "hold"', "an actuator of 110 Hz under a policy of 25 Hz"),
        (EXAMPLE.replace("[22, 3]", "[22]"), "different numbers of joints"),
        ("rate_hz = 500", "nothing"),
        ('rate_hz = inf\ninterpolation = "hold"', "one that is not"),
    ],
)
def test_a_file_that_says_nothing_that_fits_is_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(FormatError, match=said):
        actuation_for(ARM_TRACK, written(tmp_path, text))


def test_a_file_that_is_not_there_is_missing(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="expected a TOML file"):
        actuation_for(ARM_TRACK, tmp_path / "none.toml")
