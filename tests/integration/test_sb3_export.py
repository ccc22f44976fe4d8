"""`odeploy export --from sb3`: from a model's zip to a checked policy file that drives its task."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from odeploy_export.cli.export import main as export
from odeploy_runtime.errors import MissingError, OdeployError
from odeploy_runtime.inference.onnx_policy import OnnxPolicy
from odeploy_runtime.policy_file.file import read
from odeploy_sim.catalogue.locomotion import HOPPER
from odeploy_train.experts.sb3_expert import save_normaliser
from tests.integration.programs import odeploy
from tests.policies import recorded
from tests.sb3_models import answers, flat_spaces, model, normalised, saved

pytestmark = pytest.mark.thorough

_WITHOUT_THE_LIBRARY = """
import sys
sys.modules["stable_baselines3"] = sys.modules["sb3_contrib"] = sys.modules["cloudpickle"] = None
import odeploy.main
sys.argv = ["odeploy", *sys.argv[1:]]
odeploy.main.main()
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder as written by `odeploy train expert`: best.zip and normaliser.npz."""
    made = tmp_path_factory.mktemp("expert")
    normal = normalised(flat_spaces(HOPPER), HOPPER)
    short: dict[str, Any] = {"n_steps": 8, "batch_size": 8, "n_epochs": 1}
    algorithm = model("ppo", normal, **short).learn(8)
    saved(algorithm, made / "best.zip")
    save_normaliser(made / "normaliser.npz", normal)
    normal.save(str(made / "other.pkl"))
    rows = 4 * recorded(HOPPER)
    np.savez(made / "expected.npz", rows=rows, actions=answers(algorithm, normal, rows))
    return made


@pytest.fixture(scope="module")
def file(folder: Path) -> Path:
    out = folder / "files" / "hopper.onnx"
    command = ["export", "--from", "sb3", str(folder / "best.zip"), "--task", "hopper", "--out", str(out)]
    result = subprocess.run(
        [sys.executable, "-c", _WITHOUT_THE_LIBRARY, *command], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert "normaliser: normaliser.npz, found beside the model" in result.stdout
    assert "played for the parity check: return " in result.stdout
    assert "max error" in result.stdout
    return out


def test_the_file_gives_the_librarys_actions_without_the_library(folder: Path, file: Path) -> None:
    policy, no_noise = OnnxPolicy.load(file), np.zeros((1, 0, 0, 0), np.float32)
    expected = np.load(folder / "expected.npz")
    got = np.stack([policy.infer(o, no_noise)[0].copy() for o in expected["rows"]])
    assert np.abs(got - expected["actions"]).max() <= 1e-5


def test_the_manifest_records_the_policys_origin_without_a_path(folder: Path, file: Path) -> None:
    m = read(file).manifest
    assert (m.name, m.method, m.kind, m.task) == ("hopper-ppo", "ppo (stable-baselines3)", "mlp", "hopper")
    assert m.provenance["algorithm"] == "ppo"
    assert m.provenance["steps"] == 8
    assert m.provenance["seed"] == 5
    assert len(m.provenance["source_hash"]) == len(m.provenance["normaliser_hash"]) == 64
    assert m.provenance["versions"]["stable-baselines3"].startswith("2.")
    assert str(folder) not in json.dumps(m.provenance)
    assert str(folder).encode() not in file.read_bytes()


def test_both_forms_of_the_normaliser_give_the_same_graph(folder: Path, file: Path, tmp_path: Path) -> None:
    out = tmp_path / "p.onnx"
    arguments = [str(folder / "best.zip"), "--from", "sb3", "--task", "hopper", "--out", str(out)]
    export([*arguments, "--normaliser", str(folder / "other.pkl")])
    first, second = read(file).manifest, read(out).manifest
    assert first.golden == second.golden
    assert first.provenance["normaliser_hash"] != second.provenance["normaliser_hash"]


def test_the_file_drives_its_task(file: Path) -> None:
    result = odeploy("sim", "hopper", "--policy", str(file), "--mode", "lockstep", "--episodes", "1")
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    ("options", "fragment"),
    [
        (["--from", "sb3"], "expected --task, which the model does not name"),
        (["--from", "sb3", "--task", "walker2d"], "expected 17 observations as task walker2d has"),
        (["--from", "sb3", "--task", "hoper"], "such as hopper"),
        (
            ["--from", "sb3", "--task", "hopper", "--steps", "5"],
            "--steps: expected --from run, got --from sb3",
        ),
        (["--from", "sb3", "--task", "hopper", "--normaliser", "no.npz"], "no.npz: expected a normaliser"),
        ([], "expected the card of a training run"),
    ],
)
def test_a_refused_export_writes_nothing(folder: Path, tmp_path: Path, options: list[str], fragment: str) -> None:
    with pytest.raises(OdeployError, match=fragment):
        export([str(folder / "best.zip"), "--out", str(tmp_path / "p.onnx"), *options])
    assert list(tmp_path.iterdir()) == []


def test_a_model_without_its_normaliser_is_not_exported(folder: Path, tmp_path: Path) -> None:
    alone = tmp_path / "best.zip"
    alone.write_bytes((folder / "best.zip").read_bytes())
    with pytest.raises(MissingError, match="expected the VecNormalize of its training"):
        export(["--from", "sb3", str(alone), "--task", "hopper", "--out", str(tmp_path / "p.onnx")])
