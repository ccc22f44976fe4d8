"""`--actuation` and `--recipe`: contents of the TOML files, their errors, and the exported policy."""

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
EXPECTED = Recipe(
    MULTIGOAL.observation,
    (Term("signals", ("point_x", "point_y"), (1, 0)), Term("action"), Term("phase", period_s=0.5)),
    ("point_y",),
)


def written(folder: Path, text: str) -> Path:
    path = folder / "servo.toml"
    path.write_text(text)
    return path


def test_the_docstrings_example_of_an_actuation_is_the_arms_servo(tmp_path: Path) -> None:
    assert actuation_for(ARM_TRACK, written(tmp_path, EXAMPLE)) == SERVO


def test_without_a_file_the_actuation_is_the_tasks() -> None:
    assert actuation_for(ARM_TRACK, None) is SERVO
    assert actuation_for(get("hopper"), None) is None


def test_a_file_overrides_the_tasks_actuation(tmp_path: Path) -> None:
    file = written(tmp_path, 'rate_hz = 100\ninterpolation = "hold"\n')
    assert actuation_for(ARM_TRACK, file) == Actuation(100.0, "hold")


@pytest.mark.parametrize(
    ("text", "fragment"),
    [
        ("rate_hz = ", "Invalid value"),
        ('rate_hz = 110\ninterpolation = "hold"', "an actuator of 110 Hz under a policy of 25 Hz"),
        (EXAMPLE.replace("[22, 3]", "[22]"), "different numbers of joints"),
        ("rate_hz = 500", "nothing"),
        ('rate_hz = inf\ninterpolation = "hold"', "one that is not"),
    ],
)
def test_an_actuation_that_does_not_fit_is_refused(tmp_path: Path, text: str, fragment: str) -> None:
    with pytest.raises(FormatError, match=fragment):
        actuation_for(ARM_TRACK, written(tmp_path, text))


def test_a_missing_actuation_file_is_a_missing_error(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="expected a TOML file"):
        actuation_for(ARM_TRACK, tmp_path / "none.toml")


def test_the_docstrings_example_of_a_recipe_has_every_type_of_term() -> None:
    recipe = tomllib.loads(RECIPE)
    assert recipe["command"] == ["goal_x", "goal_y"]
    assert [term["of"] for term in recipe["terms"]] == ["signals", "action", "phase"]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "recipe.toml").write_text(TEXT)
    return tmp_path / "recipe.toml"


def test_a_recipe_file_lists_the_terms_of_the_observation(file: Path) -> None:
    assert recipe_for(MULTIGOAL, file) == EXPECTED


@pytest.mark.parametrize(
    ("text", "fragment"),
    [
        ("[[terms]", "Expected"),
        ('[[terms]]\nof = "signals"\nnames = ["height"]', "no raw signal has the name height"),
        ('[[terms]]\nof = "weather"', "weather"),
        ("command = []", "terms"),
    ],
)
def test_an_error_in_a_recipe_is_one_line(file: Path, text: str, fragment: str) -> None:
    file.write_text(text)
    with pytest.raises(OdeployError, match=fragment) as refused:
        recipe_for(MULTIGOAL, file)
    assert "\n" not in str(refused.value)


def test_a_missing_recipe_is_refused_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(OdeployError, match=r"none\.toml: expected a TOML file"):
        recipe_for(MULTIGOAL, tmp_path / "none.toml")


def test_recorded_ticks_are_prepared_in_order() -> None:
    seen = prepared(EXPECTED, MULTIGOAL, np.arange(6, dtype=np.float32).reshape(3, 2))
    assert seen[:, :4].tolist() == [[0, 1, 0, 1], [0, 1, 2, 3], [2, 3, 4, 5]]
    assert (seen[:, 4 : 4 + len(MULTIGOAL.action)] == 0).all()


def test_a_bare_onnx_file_is_exported_with_a_recipe_and_needs_demonstrations(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    collect(["multigoal-2d", "--episodes", "3", "--out", str(tmp_path / "demos-v0")])
    seen, model = EXPECTED.observation(MULTIGOAL.action), tmp_path / "net.onnx"
    onnx.save(network(len(seen), len(MULTIGOAL.action)), model)
    options = ["--from", "onnx", str(model), "--task", "multigoal-2d", "--recipe", str(file)]
    with pytest.raises(OdeployError, match="--recipe: expected --demos too"):
        export([*options, "--out", str(tmp_path / "p.onnx")])
    export([*options, "--demos", str(tmp_path / "demos-v0"), "--out", str(tmp_path / "p.onnx")])
    manifest = OnnxPolicy.load(tmp_path / "p.onnx").manifest
    assert manifest.recipe == EXPECTED
    assert manifest.observation == seen
    assert manifest.raw_names == MULTIGOAL.observation_names
