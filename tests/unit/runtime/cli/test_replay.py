"""`odeploy replay` on a real file: the run's own file gives the same actions, a wrong tick is an error."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from odeploy_runtime.cli.replay import main
from odeploy_runtime.errors import ContractError, UsageError
from odeploy_runtime.inference.native_policy import NativePolicy
from odeploy_runtime.inference.onnx_policy import OnnxPolicy
from odeploy_runtime.trace.format import APPLIED
from odeploy_runtime.trace.reader import read_trace
from odeploy_runtime.trace.writer import TraceWriter
from odeploy_sim.catalogue.multigoal import MULTIGOAL
from tests.policies import policy_bytes
from tests.unit.runtime import traces

MS = 1_000_000


def real(
    folder: Path, backend: type[OnnxPolicy] | type[NativePolicy] = OnnxPolicy, **header: Any
) -> tuple[Path, Path]:
    """Return a policy file and the trace of a run with it."""
    file = folder / "student.onnx"
    file.write_bytes(policy_bytes(MULTIGOAL.name))
    policy = backend.load(file)
    fields = {"fingerprint": policy.fingerprint, "observation": MULTIGOAL.observation, "action": MULTIGOAL.action}
    writer = TraceWriter(folder / "run.trace", traces.header(**(fields | header)), 100)
    draw, nothing = np.random.default_rng(1), np.zeros((1, 0), np.float32)
    for tick in range(12):
        observation = draw.normal(size=len(MULTIGOAL.observation)).astype("<f4")
        action = policy.infer(observation, nothing)[0].tobytes()
        stamps = traces.stamps(sent=tick * MS + 1, applied=tick * MS + 6)
        values = observation.tobytes() + action
        writer.append(0, tick, APPLIED, stamps, age_ns=5, values=values, offered=action)
    writer.close()
    return file, folder / "run.trace"


def test_the_runs_own_file_gives_the_same_actions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, trace = real(tmp_path)
    main([str(trace), "--policy", str(file)])
    output = capsys.readouterr().out
    assert "the file that drove this run" in output
    assert "compared: 12 of 12 ticks" in output
    assert "the same actions" in output


@pytest.mark.parametrize(("drove", "now"), [("", "CPUExecutionProvider"), ("CUDAExecutionProvider", "CPU")])
def test_the_provider_is_the_runs_if_this_machine_has_it(
    drove: str, now: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, trace = real(tmp_path, provider=drove)
    main([str(trace), "--policy", str(file)])
    assert f"bit for bit ({now}" in capsys.readouterr().out


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
@pytest.mark.parametrize("given", [[], ["--provider", "cpu"]])
def test_a_run_of_the_native_backend_is_replayed_by_it_unless_another_is_given(
    given: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, trace = real(tmp_path, NativePolicy, provider="native")
    main([str(trace), "--policy", str(file), *given])
    output = capsys.readouterr().out
    if given:
        assert "within 1e-05, another provider: largest difference" in output
        assert "(native in the run, CPUExecutionProvider now)" in output
    else:
        assert "the same actions, bit for bit (native)" in output


def test_another_file_is_a_shadow(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, trace = real(tmp_path, fingerprint="e" * 64)
    main([str(trace), "--policy", str(file)])
    assert "a shadow run: this run was driven by another file, teacher" in capsys.readouterr().out


def test_a_flipped_bit_is_an_error_unless_within_the_tolerance(tmp_path: Path) -> None:
    file, trace = real(tmp_path)
    data, size = bytearray(trace.read_bytes()), read_trace(trace).rows.itemsize
    data[len(data) - 3 * size - 2] ^= 0x40  # in the last number of tick 8, an offered action
    trace.write_bytes(data)
    with pytest.raises(ContractError, match=f"episode 0, tick 8, signal {MULTIGOAL.action_names[-1]}"):
        main([str(trace), "--policy", str(file)])
    main([str(trace), "--policy", str(file), "--tolerance", "1000"])


def test_a_file_with_other_signals_is_refused(tmp_path: Path) -> None:
    file, _ = real(tmp_path)
    traces.write(tmp_path / "other.trace")
    with pytest.raises(ContractError, match=r"other\.trace, observation"):
        main([str(tmp_path / "other.trace"), "--policy", str(file)])


def test_a_run_with_blended_actions_is_refused(tmp_path: Path) -> None:
    file, trace = real(tmp_path, blend=0.1)
    with pytest.raises(UsageError, match="sim --blend"):
        main([str(trace), "--policy", str(file)])


@pytest.mark.parametrize("tolerance", ["-1", "nan"])
def test_an_invalid_tolerance_is_refused(tmp_path: Path, tolerance: str) -> None:
    with pytest.raises(UsageError, match="--tolerance"):
        main([str(tmp_path / "t"), "--policy", str(tmp_path / "p"), "--tolerance", tolerance])
