"""`--actuation` and `--recipe`: what the TOML files hold, what is wrong in them, and what becomes of it."""

import re
import tomllib
from pathlib import Path

import numpy as np
import onnx
import pytest

import odeploy_export.toml_files as option
from odeploy_export.cli.export import main as export
from odeploy_export.toml_files import actuation_for, prepared, recipe_for
from odeploy_runtime.errors import FormatError, MissingError, OdeployError
from odeploy_runtime.inference.onnx_policy import OnnxPolicy
from odeploy_runtime.policy_file.actuation import Actuation
from odeploy_runtime.policy_file.recipe import Recipe, Term
from odeploy_sim.catalogue import get
from odeploy_sim.catalogue.arm_track import ARM_TRACK
from odeploy_sim.catalogue.multigoal import MULTIGOAL
from odeploy_sim.cli.collect import main as collect
from odeploy_sim.environments.arm_track import SERVO
from tests.integration.test_recipe import network

assert option.__doc__ is not None
_, EXAMPLE, RECIPE = re.split(r"(?m)^`--.*:\n\n", option.__doc__)

TEXT = """
command = ["point_y"]
[[terms]]
of = "signals"
names = ["point_x", "point_y"]
ages = [1, 0]
[[terms]]
of = "action"
[[terms]]
of = "phase"
period_s = 0.5
"""
WANTED = Recipe(
    MULTIGOAL.observation,
    (Term("signals", ("point_x", "point_y"), (1, 0)), Term("action"), Term("phase", period_s=0.5)),
    ("point_y",),
)


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


def test_the_docstring_s_example_of_a_recipe_has_every_kind_of_term() -> None:
    said = tomllib.loads(RECIPE)
    assert said["command"] == ["goal_x", "goal_y"]
    assert [term["of"] for term in said["terms"]] == ["signals", "action", "phase"]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "recipe.toml").write_text(TEXT)
    return tmp_path / "recipe.toml"


def test_the_file_names_what_the_policy_sees_of_the_tasks_signals(file: Path) -> None:
    assert recipe_for(MULTIGOAL, file) == WANTED


@pytest.mark.parametrize(
    ("text", "fragment"),
    [
        ("[[terms]", "Expected"),
        ('[[terms]]\nof = "signals"\nnames = ["height"]', "no raw signal has the name height"),
        ('[[terms]]\nof = "weather"', "weather"),
        ("command = []", "terms"),
    ],
)
def test_what_is_wrong_in_it_is_said_in_a_line(file: Path, text: str, fragment: str) -> None:
    file.write_text(text)
    with pytest.raises(OdeployError, match=fragment) as refused:
        recipe_for(MULTIGOAL, file)
    assert "\n" not in str(refused.value)


def test_a_recipe_that_is_not_there_is_said_in_a_line(tmp_path: Path) -> None:
    with pytest.raises(OdeployError, match=r"none\.toml: expected a TOML file"):
        recipe_for(MULTIGOAL, tmp_path / "none.toml")


def test_recorded_ticks_are_prepared_one_after_the_other() -> None:
    seen = prepared(WANTED, MULTIGOAL, np.arange(6, dtype=np.float32).reshape(3, 2))
    assert seen[:, :4].tolist() == [[0, 1, 0, 1], [0, 1, 2, 3], [2, 3, 4, 5]]
    assert (seen[:, 4 : 4 + len(MULTIGOAL.action)] == 0).all()


def test_a_bare_file_that_wants_a_history_is_exported_with_its_recipe(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    collect(["multigoal-2d", "--episodes", "3", "--out", str(tmp_path / "demos-v0")])
    seen, model = WANTED.observation(MULTIGOAL.action), tmp_path / "net.onnx"
    onnx.save(network(len(seen), len(MULTIGOAL.action)), model)
    options = ["--from", "onnx", str(model), "--task", "multigoal-2d", "--recipe", str(file)]
    with pytest.raises(OdeployError, match="--recipe: expected --demos too"):
        export([*options, "--out", str(tmp_path / "p.onnx")])
    export([*options, "--demos", str(tmp_path / "demos-v0"), "--out", str(tmp_path / "p.onnx")])
    manifest = OnnxPolicy.load(tmp_path / "p.onnx").manifest
    assert manifest.recipe == WANTED
    assert manifest.observation == seen
    assert manifest.raw_names == MULTIGOAL.observation_names
