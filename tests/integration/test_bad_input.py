"""A user's mistake ends with one clear line and a non-zero status: no traceback, no partial output."""

import json
import re
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import onnx
import pytest

from odeploy_runtime.errors import UsageError
from odeploy_runtime.policy_file.file import FINGERPRINT_KEY, MANIFEST_KEY, NO_FINGERPRINT, seal
from odeploy_runtime.realtime.serving import serving
from odeploy_sim.catalogue.locomotion import HOPPER
from odeploy_sim.catalogue.manipulation import FETCH_REACH
from odeploy_sim.catalogue.mazes import MAZE_MEDIUM
from tests.integration.programs import in_process, odeploy
from tests.integration.runs import saved_run
from tests.policies import policy_bytes, policy_path
from tests.thorough import mostly_thorough

ONE_LINE = re.compile(r"^odeploy [a-z -]+: .+: expected .+, got .+; .+\n$")


def assert_one_line(result: object, *fragments: str) -> None:
    returncode, stderr = result.returncode, result.stderr  # type: ignore[attr-defined]
    assert returncode == 2, stderr
    assert ONE_LINE.match(stderr), stderr
    for fragment in fragments:
        assert fragment in stderr


def resealed(data: bytes, **changes: object) -> bytes:
    """Return the file with a changed manifest and a matching fingerprint."""
    model = onnx.load_from_string(data)
    props = {entry.key: entry.value for entry in model.metadata_props}
    manifest = json.loads(props[MANIFEST_KEY]) | changes
    onnx.helper.set_model_props(model, {MANIFEST_KEY: json.dumps(manifest), FINGERPRINT_KEY: NO_FINGERPRINT})
    return seal(model.SerializeToString(), "test")


@pytest.mark.parametrize("verb", mostly_thorough(["serve", "inspect", "verify"]))
def test_a_missing_policy_file(verb: str, tmp_path: Path) -> None:
    assert_one_line(odeploy(verb, str(tmp_path / "none.onnx")), "No such file", "odeploy export")


@pytest.mark.parametrize("verb", mostly_thorough(["serve", "inspect", "verify"]))
def test_a_truncated_policy_file(verb: str, tmp_path: Path) -> None:
    path = tmp_path / "cut.onnx"
    path.write_bytes(policy_bytes("maze-medium")[:-100])
    assert_one_line(odeploy(verb, str(path)), "cut.onnx", "copy the file again")


def test_a_policy_file_with_a_changed_weight(tmp_path: Path) -> None:
    data = bytearray(policy_bytes("maze-medium"))
    data[len(data) // 2] ^= 1
    path = tmp_path / "bent.onnx"
    path.write_bytes(data)
    assert_one_line(odeploy("verify", str(path)), "fingerprint")


def test_a_plain_onnx_file_without_a_manifest(tmp_path: Path) -> None:
    model = onnx.load_from_string(policy_bytes("maze-medium"))
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "plain.onnx")
    assert_one_line(odeploy("inspect", str(tmp_path / "plain.onnx")), "odeploy export")


@pytest.mark.fault(10)
def test_a_manifest_of_a_newer_version(tmp_path: Path) -> None:
    path = tmp_path / "newer.onnx"
    path.write_bytes(resealed(policy_bytes("maze-medium"), version=2))
    assert_one_line(odeploy("serve", str(path)), "version 1 or older", "version 2", "upgrade odeploy")


def test_golden_rows_that_differ_from_the_graphs_output(tmp_path: Path) -> None:
    data = policy_bytes("maze-medium")
    model = onnx.load_from_string(data)
    manifest = json.loads(next(e.value for e in model.metadata_props if e.key == MANIFEST_KEY))
    manifest["golden"][0]["action"][1] += 0.01
    path = tmp_path / "wrong.onnx"
    path.write_bytes(resealed(data, golden=manifest["golden"]))
    assert_one_line(odeploy("serve", str(path)), "golden row 0, signal motor_y")


@pytest.mark.fault(10)
def test_a_task_with_other_signals_than_the_file(tmp_path: Path) -> None:
    file = policy_path(tmp_path, HOPPER)
    out = tmp_path / "bench"
    assert_one_line(
        odeploy("bench", str(file), "--task", "maze-medium", "--out", str(out)), "missing", "maze-medium"
    )
    assert not out.exists()
    with serving(file) as endpoint:
        result = odeploy("sim", "maze-medium", "--endpoint", endpoint, "--trace", str(tmp_path / "t.trace"))
    assert_one_line(result, "a refusal", "expected task 'hopper'", "maze-medium")
    assert not (tmp_path / "t.trace").exists()


@pytest.mark.fault(10)
def test_a_task_with_the_same_names_in_another_order(tmp_path: Path) -> None:
    data = policy_bytes("maze-medium")
    model = onnx.load_from_string(data)
    manifest = json.loads(next(e.value for e in model.metadata_props if e.key == MANIFEST_KEY))
    path = tmp_path / "permuted.onnx"
    path.write_bytes(resealed(data, action=manifest["action"][::-1]))
    fragments = "'motor_y'", "'motor_x' (same names, another order)", "place 0"
    assert_one_line(odeploy("bench", str(path), "--task", "maze-medium", "--out", str(tmp_path / "b")), *fragments)
    with serving(path) as endpoint:
        result = odeploy("sim", "maze-medium", "--endpoint", endpoint, "--trace", str(tmp_path / "t.trace"))
    assert_one_line(result, *fragments)


@pytest.mark.parametrize("rate", mostly_thorough(["nan", "0", "-5", "inf"], 0))
def test_a_rate_that_is_not_positive(rate: str, tmp_path: Path) -> None:
    file = policy_path(tmp_path, MAZE_MEDIUM)
    assert_one_line(
        odeploy("sim", "maze-medium", "--policy", str(file), f"--rate={rate}"), "a positive number of Hz"
    )
    result = odeploy("bench", str(file), "--task", "maze-medium", f"--rates={rate}", "--out", str(tmp_path / "b"))
    assert_one_line(result, "a positive number of Hz")


@pytest.mark.parametrize("transports", ["tcp", "lane,lane", "lane,", ""])
def test_a_bench_over_unknown_or_repeated_transports(transports: str, tmp_path: Path) -> None:
    file = policy_path(tmp_path, MAZE_MEDIUM)
    with pytest.raises(UsageError, match="--transport: expected different ones of auto, lane, zmq"):
        in_process("bench", str(file), "--task", "maze-medium", f"--transport={transports}")


def test_a_rate_too_high_for_the_simulation(tmp_path: Path) -> None:
    file = policy_path(tmp_path, FETCH_REACH)
    result = odeploy("sim", FETCH_REACH.name, "--policy", str(file), "--rate", "9000")
    assert result.returncode == 2
    assert "leaves time to decide" in result.stderr


@pytest.mark.parametrize("scheme", ["ipc", "tcp"])
def test_an_address_in_use(scheme: str, tmp_path: Path) -> None:
    file = policy_path(tmp_path, MAZE_MEDIUM)
    with serving(file) as endpoint:
        if scheme == "tcp":
            import zmq

            with zmq.Context() as context, context.socket(zmq.ROUTER) as taken:
                port = taken.bind_to_random_port("tcp://127.0.0.1")
                result = odeploy("serve", str(file), "--endpoint", f"tcp://127.0.0.1:{port}")
        else:
            result = odeploy("serve", str(file), "--endpoint", endpoint)
        assert_one_line(result, "another server answers", "endpoint ")


@pytest.mark.fault(12)
def test_an_address_that_other_machines_can_reach(tmp_path: Path) -> None:
    file = policy_path(tmp_path, MAZE_MEDIUM)
    assert_one_line(odeploy("serve", str(file), "--endpoint", "tcp://0.0.0.0:5555"), "loopback", "ssh tunnel")


def test_the_wait_for_an_absent_server_ends_after_the_timeout(tmp_path: Path) -> None:
    options = [
        "--endpoint",
        f"ipc://{tmp_path}/none.ipc",
        "--timeout",
        "0.5",
        "--trace",
        str(tmp_path / "t.trace"),
    ]
    assert_one_line(
        odeploy("sim", "maze-medium", *options, timeout_s=20), "an answer within 0.5 s", "odeploy serve"
    )
    assert not (tmp_path / "t.trace").exists()


def test_errors_for_unknown_verbs_and_tasks_offer_the_nearest(tmp_path: Path) -> None:
    unknown = odeploy("serv")
    assert (unknown.returncode, unknown.stderr) == (2, "odeploy: expected a verb, got serv; use serve\n")
    assert_one_line(odeploy("collect", "maze-medim", "--out", str(tmp_path / "d-v0")), "maze-medium")


def test_collecting_needs_an_expert_and_a_free_versioned_folder(tmp_path: Path) -> None:
    none = odeploy("collect", "humanoid", "--out", str(tmp_path / "d-v0"))
    assert_one_line(none, "a scripted expert", "--policy")
    assert_one_line(odeploy("collect", "maze-medium", "--out", str(tmp_path / "d")), "d-v0")
    (tmp_path / "d-v0").mkdir()
    assert_one_line(odeploy("collect", "maze-medium", "--out", str(tmp_path / "d-v0")), "d-v1")


@pytest.mark.thorough
def test_demonstrations_of_another_task_are_refused(tmp_path: Path) -> None:
    demos = tmp_path / "reach-v0"
    assert odeploy("collect", "fetch-reach", "--episodes", "1", "--out", str(demos)).returncode == 0
    run = tmp_path / "run"
    result = odeploy("train", "fm-bc", "--task", "maze-medium", "--demos", str(demos), "--out", str(run))
    assert_one_line(result, "episodes of task maze-medium", "episodes of fetch-reach")
    shutil.rmtree(demos / "data")
    result = odeploy("train", "fm-bc", "--task", "fetch-reach", "--demos", str(demos), "--out", str(run))
    assert_one_line(result, "odeploy collect")


def test_a_run_without_a_checkpoint_is_not_exported(tmp_path: Path) -> None:
    saved_run(tmp_path / "run", HOPPER)
    (tmp_path / "run" / "checkpoint.pt").unlink()
    result = odeploy("export", str(tmp_path / "run"), "--out", str(tmp_path / "p.onnx"))
    assert_one_line(result, "checkpoint.pt", "expected a checkpoint", "repeat the command that began this run")
    assert not (tmp_path / "p.onnx").exists()


@pytest.mark.thorough
def test_a_full_disk_during_an_export_leaves_the_old_file(tmp_path: Path) -> None:
    saved_run(tmp_path / "run", HOPPER)
    out = tmp_path / "files" / "p.onnx"
    out.parent.mkdir()
    out.write_bytes(b"the old file")
    command = [sys.executable, "-m", "odeploy", "export", str(tmp_path / "run"), "--out", str(out), "--steps", "1"]
    # A file-size limit stops a write midway, as a full disk does, and needs no privilege.
    full = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)),
    )
    assert_one_line(full, "p.onnx", "File too large", "free some space")
    assert [(p.name, p.read_bytes()) for p in out.parent.iterdir()] == [("p.onnx", b"the old file")]


@pytest.mark.parametrize("verb", mostly_thorough(["export", "inspect", "report"]))
def test_a_folder_or_file_of_the_wrong_type(verb: str, tmp_path: Path) -> None:
    (tmp_path / "x").write_text("neither a run nor a policy file")
    options = ["--out", str(tmp_path / "y.onnx")] if verb == "export" else []
    assert_one_line(odeploy(verb, str(tmp_path / "x"), *options))
    assert [p.name for p in tmp_path.iterdir()] == ["x"]
