"""The verbs in sequence, at reduced size: each writes the next one's input."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from odeploy_export.cli.export import main as export
from odeploy_runtime.errors import OdeployError
from odeploy_runtime.inference.onnx_policy import OnnxPolicy
from odeploy_runtime.policy_file.file import read
from odeploy_sim.catalogue.mazes import MAZE_MEDIUM
from odeploy_sim.demonstrations.dataset import load
from tests.integration.programs import in_process, odeploy
from tests.thorough import mostly_thorough


@dataclass(frozen=True)
class Made:
    """Output of the pipeline: two runs of `fetch-reach` and a policy file of each."""

    folder: Path

    def run(self, name: str) -> str:
        return str(self.folder / name)

    def file(self, name: str) -> Path:
        return self.folder / "files" / f"{name}.onnx"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    made = Made(tmp_path_factory.mktemp("pipeline"))
    demos, teacher, student = (made.run(name) for name in ("demos-v0", "teacher", "student"))
    tiny = ["--width", "32", "--batch", "64", "--score-episodes", "0", "--threads", "1"]
    distilled = ["--demos", demos, "--steps", "60", "--rounds", "1", "--episodes", "1"]
    sampled = ["--solver", "heun", "--steps", "3", "--noise", "zero"]
    for command in (
        ["collect", "fetch-reach", "--episodes", "4", "--quality", "noisy:0.2", "--out", demos],
        ["train", "fm-bc", "--task", "fetch-reach", "--demos", demos, "--out", teacher, "--steps", "150", *tiny],
        ["train", "distill", "--teacher", teacher, "--out", student, *tiny, *distilled],
        ["export", teacher, *sampled, "--out", str(made.file("teacher"))],
        ["export", student, "--out", str(made.file("student"))],
    ):
        assert command[command.index("--out") + 1] in in_process(*command)  # each prints its output's path
    assert sorted(p.name for p in (made.folder / "files").iterdir()) == ["student.onnx", "teacher.onnx"]
    return made


@pytest.mark.parametrize(("name", "label"), mostly_thorough([("teacher", "heun × 3"), ("student", "-")]))
def test_an_exported_file_describes_itself_and_passes_its_checks(made: Made, name: str, label: str) -> None:
    manifest = read(made.file(name)).manifest
    assert manifest.sampler_label == label
    assert manifest.parity[0].max_error <= manifest.parity[0].tolerance == 1e-5
    assert len(manifest.provenance["data_hash"]) == 64
    assert str(made.folder) not in json.dumps(manifest.provenance)
    assert OnnxPolicy.load(made.file(name)).golden_error <= 1e-5

    inspected = odeploy("inspect", str(made.file(name)))
    for signal in (*manifest.observation_names, *manifest.action_names):
        assert signal in inspected.stdout
    as_json = json.loads(odeploy("inspect", str(made.file(name)), "--json").stdout)
    assert as_json["action"][0]["name"] == "gripper_displacement_x"

    assert "parity check: not run" in odeploy("verify", str(made.file(name))).stdout
    verified = odeploy("verify", str(made.file(name)), "--run", made.run(name))
    assert verified.returncode == 0, verified.stderr
    assert "parity check: 77 rows at batches (1, 3, 8): max error" in verified.stdout


def test_a_second_export_gives_the_same_bytes(made: Made, tmp_path: Path) -> None:
    out = tmp_path / "again.onnx"
    export([made.run("student"), "--out", str(out), "--name", "student"])
    assert out.read_bytes() == made.file("student").read_bytes()


def test_a_file_is_refused_by_the_run_of_another_method(made: Made) -> None:
    result = odeploy("verify", str(made.file("student")), "--run", made.run("teacher"))
    assert result.returncode == 2
    assert "expected a run of distill, got fm-bc" in result.stderr


@pytest.mark.parametrize(
    ("run", "options", "fragment"),
    [
        ("teacher", ["--tolerance", "1e-12"], "nothing was written"),
        ("teacher", ["--solver", "rk5"], "euler, midpoint, heun, rk4"),
        ("teacher", ["--steps", "0"], "at least 1"),
        ("student", ["--steps", "5"], "expected a flow or diffusion policy, got one of type student"),
        ("demos-v0", [], "training run"),
    ],
)
def test_a_refused_export_writes_nothing(
    made: Made, tmp_path: Path, run: str, options: list[str], fragment: str
) -> None:
    with pytest.raises(OdeployError, match=fragment):
        export([made.run(run), "--out", str(tmp_path / "p.onnx"), *options])
    assert list(tmp_path.iterdir()) == []


def test_an_exported_policy_can_be_the_expert_of_a_new_dataset(made: Made, tmp_path: Path) -> None:
    options = ["--policy", str(made.file("student")), "--episodes", "2", "--out", str(tmp_path / "again-v0")]
    result = odeploy("collect", "fetch-reach", *options)
    assert result.returncode == 0, result.stderr
    assert "2 episodes, 100 ticks" in result.stdout


def test_collecting_into_a_relative_path_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = odeploy("collect", "maze-medium", "--episodes", "1", "--out", "runs/d-v0")
    assert result.returncode == 0, result.stderr
    assert load("runs/d-v0", MAZE_MEDIUM).actions.shape[1] == 2
