"""`--actuation` and `--recipe`: contents of the TOML files, their errors, and the exported policy."""

import re
import tomllib
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import odeploy_export.toml_files as option
from odeploy_export.cli.export import main as export
from odeploy_export.graphs.action_output import AS_IT_IS, Output
from odeploy_export.toml_files import actuation_for, output_for, prepared, recipe_for
from odeploy_runtime.errors import FormatError, MissingError, OdeployError
from odeploy_runtime.inference.onnx_policy import OnnxPolicy
from odeploy_runtime.inference.policy_state import PolicyState
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
    assert recipe["output"] == {"scale": 0.25}


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
        (TEXT.replace("ages", "age"), "a known field such as ages, got age"),
        (TEXT + "[output]\nscail = 0.25", "a known field such as scale, got scail"),
        (TEXT.replace("ages = [1, 0]", "offset = [1]"), "at terms.0..offset"),
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


SCALED = """
[[terms]]
of = "signals"
names = ["point_*"]
scale = 0.5
offset = { "point_y" = 3, "*" = 0 }
[[terms]]
of = "raw_action"
[output]
scale = 0.25
offset = [0.1, 0.2]
"""


def test_a_recipe_file_may_name_signals_by_patterns_and_give_an_offset_for_each(file: Path) -> None:
    file.write_text(SCALED)
    term = Term("signals", ("point_x", "point_y"), scale=0.5, offset=(0.0, 3.0))
    assert recipe_for(MULTIGOAL, file).terms == (term, Term("raw_action"))


def test_the_output_of_a_recipe_file_has_a_number_for_each_action(file: Path) -> None:
    assert output_for(MULTIGOAL, file) == AS_IT_IS
    file.write_text(SCALED)
    assert output_for(MULTIGOAL, file) == Output((0.25, 0.25), (0.1, 0.2))


def test_a_network_gets_its_own_previous_output_and_the_robot_the_scaled_one(file: Path, tmp_path: Path) -> None:
    file.write_text(SCALED)
    model = network(4, 2)
    onnx.save(model, tmp_path / "net.onnx")
    export(["--from", "onnx", str(tmp_path / "net.onnx"), "--task", "multigoal-2d", "--recipe", str(file),
            "--out", str(tmp_path / "p.onnx")])  # fmt: skip
    policy = OnnxPolicy.load(tmp_path / "p.onnx")
    state, raw = PolicyState(policy.manifest, 0), np.zeros(2)
    weights = numpy_helper.to_array(model.graph.initializer[0])
    for tick in range(3):
        point = np.array([tick, -1.0], np.float32)
        raw = np.tanh(np.concatenate([0.5 * point + [0, 3], raw]) @ weights)
        answer = state.answer(policy, 0, 0, tick, point)[0]
        np.testing.assert_allclose(answer, 0.25 * raw + [0.1, 0.2], atol=1e-6, rtol=0)
        np.testing.assert_allclose(policy.raw_action, raw, atol=1e-6, rtol=0)
    assert policy.manifest.provenance["output"] == {"scale": [0.25, 0.25], "offset": [0.1, 0.2]}
    assert policy.manifest.observed is not None
    assert policy.manifest.observed[2][0] < policy.manifest.observed[2][1]  # it played with its own output


def test_a_bare_onnx_file_is_exported_with_a_recipe_and_demonstrations(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    collect(["multigoal-2d", "--episodes", "3", "--out", str(tmp_path / "demos-v0")])
    seen, model = EXPECTED.observation(MULTIGOAL.action), tmp_path / "net.onnx"
    onnx.save(network(len(seen), len(MULTIGOAL.action)), model)
    options = ["--from", "onnx", str(model), "--task", "multigoal-2d", "--recipe", str(file)]
    export([*options, "--demos", str(tmp_path / "demos-v0"), "--out", str(tmp_path / "p.onnx")])
    manifest = OnnxPolicy.load(tmp_path / "p.onnx").manifest
    assert manifest.recipe == EXPECTED
    x, y = MULTIGOAL.observation
    assert manifest.observed is not None
    assert manifest.observed[3] == (y.low, y.high)  # the operator's, whatever the demonstrations met
    assert manifest.observed[2] != (x.low, x.high)
    assert manifest.observation == seen
    assert manifest.raw_names == MULTIGOAL.observation_names
