"""An export of the same run gives the same bytes in any process and folder, without paths of the machine."""

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import onnx
import pytest

from odeploy_runtime.policy_file.file import FINGERPRINT_KEY, MANIFEST_KEY
from odeploy_sim.catalogue.locomotion import HOPPER
from tests.integration.runs import saved_run

pytestmark = pytest.mark.thorough

ROOT = Path(__file__).parents[2]
_PATH = re.compile(r"(^|[\s\"'=(:])/\w")  # units contain a slash too, but never at the front


def exporting(run: Path, folder: Path, hash_seed: int) -> "subprocess.Popen[bytes]":
    """Start an export in a separate process, in `folder`."""
    folder.mkdir()
    command = [sys.executable, "-m", "odeploy", "export", str(run), "--out", "policy.onnx", "--steps", "3"]
    own = {"PYTHONHASHSEED": str(hash_seed), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, cwd=folder, env=os.environ | own, stdout=subprocess.DEVNULL)


@pytest.fixture(scope="module")
def twice(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes, bytes]:
    folder = tmp_path_factory.mktemp("deterministic")
    saved_run(folder / "run", HOPPER)
    folders = folder / "one", folder / "other"
    processes = [exporting(folder / "run", place, seed) for seed, place in enumerate(folders)]
    assert [process.wait() for process in processes] == [0, 0]
    first, second = ((place / "policy.onnx").read_bytes() for place in folders)
    return folder, first, second


def test_two_processes_with_different_hash_seeds_write_the_same_bytes(twice: tuple[Path, bytes, bytes]) -> None:
    _, first, second = twice
    assert first == second


def test_the_file_contains_no_folder_of_this_machine(twice: tuple[Path, bytes, bytes]) -> None:
    folder, data, _ = twice
    for path in (folder, ROOT, Path.home(), Path(tempfile.gettempdir()), Path(sys.prefix), Path.cwd()):
        assert str(path).encode() not in data or path == Path("/")
    for fragment in (b"site-packages", b".py", b"file://"):
        assert fragment not in data


def test_no_text_in_the_file_contains_an_absolute_path(twice: tuple[Path, bytes, bytes]) -> None:
    model = onnx.load_from_string(twice[1])
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    assert set(metadata) == {MANIFEST_KEY, FINGERPRINT_KEY}
    manifest = json.dumps(json.loads(metadata[MANIFEST_KEY]), ensure_ascii=False)
    assert not _PATH.search(manifest)
    del model.metadata_props[:]
    for tensor in model.graph.initializer:
        tensor.raw_data = b""
    assert b"/" not in model.SerializeToString()
