import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from odeploy_runtime.errors import FormatError, MissingError
from odeploy_train.runs.algorithm_version import ALGORITHM_VERSIONS
from odeploy_train.sweeps.spec import RunSpec, arguments, read, runs

SPEC = """
tasks = ["maze-medium", "hopper"]
seeds = [0, 1]
episodes = 50

[demos.maze-medium]
quality = "coverage:0.25"

[methods.PPO]
verb = "ppo"
options = { steps = 1000, widths = [64, 64] }
tasks.hopper = { steps = 5000 }

[methods.FP]
verb = "fm-bc"
tasks.hopper = false
export = { noise = "zero" }
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "spec.toml"
    path.write_text(text)
    return path


def test_a_spec_combines_methods_tasks_and_seeds_except_those_left_out(tmp_path: Path) -> None:
    made = runs(read(written(tmp_path, SPEC)))
    assert [(r.task, r.seed, r.method) for r in made] == [
        ("maze-medium", 0, "PPO"),
        ("maze-medium", 0, "FP"),
        ("maze-medium", 1, "PPO"),
        ("maze-medium", 1, "FP"),
        ("hopper", 0, "PPO"),
        ("hopper", 1, "PPO"),
    ]
    assert made[0].demos == {"quality": "coverage:0.25"}
    assert made[-1].demos is None


def test_options_of_a_task_override_those_of_the_method(tmp_path: Path) -> None:
    made = runs(read(written(tmp_path, SPEC)))
    assert made[0].options == {"steps": 1000, "widths": [64, 64]}
    assert made[-1].options == {"steps": 5000, "widths": [64, 64]}


def test_a_key_survives_json_and_changes_with_every_field(tmp_path: Path) -> None:
    run = runs(read(written(tmp_path, SPEC)))[1]
    there_and_back = json.loads(json.dumps(vars(run)))
    assert RunSpec(**{**there_and_back, "noise": tuple(there_and_back["noise"])}).key == run.key
    changes: dict[str, Any] = {
        "method": "other", "verb": "bc", "task": "hopper", "seed": 7, "options": {"steps": 1}, "export": {},
        "demos": {"quality": "expert"}, "episodes": 51, "noise": (2.0,), "init": "another", "task_digest": "0123",
    }  # fmt: skip
    assert set(changes) == {f.name for f in dataclasses.fields(RunSpec)} - {"reference"}
    keys = {dataclasses.replace(run, **{name: value}).key for name, value in changes.items()}
    assert len(keys | {run.key}) == len(changes) + 1


def test_a_method_that_starts_from_another_ones_training_records_it_and_has_a_different_training(
    tmp_path: Path,
) -> None:
    begins = '[methods.tuned]\nverb = "fpo"\ndemos = false\ninit = "FP"\ntasks.hopper = false\n'
    made = runs(read(written(tmp_path, SPEC + begins)))
    of = {(run.method, run.task, run.seed): run for run in made}
    tuned, teacher = of["tuned", "maze-medium", 1], of["FP", "maze-medium", 1]
    assert tuned.init == teacher.training
    assert dataclasses.replace(tuned, init=None).training != tuned.training
    with pytest.raises(FormatError, match="a method above it: PPO, FP"):
        read(written(tmp_path, SPEC + begins.replace('init = "FP"', 'init = "FPP"')))
    with pytest.raises(FormatError, match="a method that runs on hopper too, got FP, which is left out there"):
        read(written(tmp_path, SPEC + begins.replace("tasks.hopper = false\n", "")))


def test_the_key_of_published_results_is_unchanged_by_versions_until_one_rises(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    line = json.loads(Path("results/maze.jsonl").read_text().splitlines()[0])
    known = {field.name: line[field.name] for field in dataclasses.fields(RunSpec) if field.name in line}
    spec = RunSpec(**{**known, "noise": tuple(known["noise"])})
    assert (spec.key, spec.version) == (line["key"], 1)
    before = spec.key, spec.training
    monkeypatch.setitem(ALGORITHM_VERSIONS, spec.verb, 2)
    assert spec.version == 2
    assert spec.key != before[0]
    assert spec.training != before[1]  # a run folder of its own


@pytest.mark.parametrize(("name", "value"), [("method", "FP, K = 5"), ("export", {"steps": 5}), ("noise", (2.0,))])
def test_runs_that_differ_only_in_export_and_scores_share_a_training(
    tmp_path: Path, name: str, value: object
) -> None:
    run = runs(read(written(tmp_path, SPEC)))[1]
    other = dataclasses.replace(run, **{name: value})  # type: ignore[arg-type]
    assert other.training == run.training
    assert other.key != run.key


def test_options_become_command_line_arguments() -> None:
    options = {"steps": 5, "score_every": 7, "rewarded": False, "shared": True, "widths": [64, 32], "redraw": "x"}
    assert arguments(options) == [
        "--steps", "5", "--score-every", "7", "--no-rewarded", "--shared", "--widths", "64", "32",
        "--redraw", "x",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "fragment"),
    [
        ("tasks = [", "TOML"),
        (SPEC.replace("seeds = [0, 1]", "seeds = []"), "at least one"),
        (SPEC.replace("seeds = [0, 1]", 'seeds = ["a"]'), r"seeds\[0\]: expected int"),
        (SPEC.replace("episodes = 50", "episodes = 0"), "at least one"),
        (SPEC.replace("episodes = 50", "episode = 50"), "got episode"),
        (SPEC.replace('verb = "ppo"', 'verbs = "ppo"'), "verb"),
        (SPEC.replace("options =", "option ="), "got option"),
    ],
)
def test_an_invalid_spec_is_refused_with_the_place_of_the_error(tmp_path: Path, text: str, fragment: str) -> None:
    with pytest.raises(FormatError, match=fragment):
        read(written(tmp_path, text))


def test_an_unknown_task_is_refused_with_the_nearest_names(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="maze-medium"):
        read(written(tmp_path, SPEC.replace('["maze-medium", "hopper"]', '["maze-medum"]')))


def test_a_missing_spec_is_a_missing_error(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="No such file"):
        read(tmp_path / "none.toml")


TASK = """
name = "arm"
rate_hz = 50
horizon = 100
observation = [{ name = "q", unit = "rad" }]
action = [{ name = "u", unit = "N·m", low = -1, high = 1 }]
"""


def test_a_task_that_is_not_catalogued_is_named_by_reference_and_keyed_by_digest(tmp_path: Path) -> None:
    (tmp_path / "arm.toml").write_text(TASK)
    tasks = f'tasks = ["{tmp_path}/arm.toml", "hopper"]'
    text = SPEC.replace('tasks = ["maze-medium", "hopper"]', tasks).replace("demos.maze-medium", "demos.arm")
    made = runs(read(written(tmp_path, text)))
    arm, hopper = made[0], made[-1]
    assert (arm.task, arm.argument, arm.demos) == ("arm", f"{tmp_path}/arm.toml", {"quality": "coverage:0.25"})
    assert (hopper.task, hopper.argument, hopper.task_digest) == ("hopper", "hopper", "")
    assert dataclasses.replace(arm, reference="/elsewhere/arm.toml").key == arm.key
    (tmp_path / "arm.toml").write_text(TASK.replace("horizon = 100", "horizon = 200"))
    changed = runs(read(written(tmp_path, text)))[0]
    assert changed.key != arm.key
    assert changed.training != arm.training
