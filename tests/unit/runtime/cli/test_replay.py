"""`odeploy replay` on a real file: the file that drove a run gives the same actions, a wrong tick ends it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from odeploy_runtime.cli.replay import main
from odeploy_runtime.errors import ContractError, UsageError
from odeploy_runtime.inference.onnx_policy import OnnxPolicy
from odeploy_runtime.trace.format import APPLIED
from odeploy_runtime.trace.reader import read_trace
from odeploy_runtime.trace.writer import TraceWriter
from odeploy_sim.catalogue.multigoal import MULTIGOAL
from tests.policies import policy_bytes
from tests.unit.runtime import traces

MS = 1_000_000


def real(folder: Path, **header: Any) -> tuple[Path, Path]:
    """A policy file and a trace that it drove."""
    file = folder / "student.onnx"
    file.write_bytes(policy_bytes(MULTIGOAL.name))
    policy = OnnxPolicy.load(file)
    said = {"fingerprint": policy.fingerprint, "observation": MULTIGOAL.observation, "action": MULTIGOAL.action}
    writer = TraceWriter(folder / "run.trace", traces.header(**(said | header)), 100)
    draw, nothing = np.random.default_rng(1), np.zeros((1, 0), np.float32)
    for tick in range(12):
        observation = draw.normal(size=len(MULTIGOAL.observation)).astype("<f4")
        action = policy.infer(observation, nothing)[0].tobytes()
        stamps = traces.stamps(sent=tick * MS + 1, applied=tick * MS + 6)
        values = observation.tobytes() + action
        writer.append(0, tick, APPLIED, stamps, age_ns=5, values=values, offered=action)
    writer.close()
    return file, folder / "run.trace"


def test_the_file_that_drove_a_run_is_found_to_say_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, trace = real(tmp_path)
    main([str(trace), "--policy", str(file)])
    said = capsys.readouterr().out
    assert "the file that drove this run" in said
    assert "compared: 12 of 12 ticks" in said
    assert "the same actions" in said


def test_another_file_is_a_shadow(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, trace = real(tmp_path, fingerprint="e" * 64)
    main([str(trace), "--policy", str(file)])
    assert "a shadow run: this run was driven by another file, teacher" in capsys.readouterr().out


def test_a_bit_that_flipped_ends_the_program_unless_it_is_allowed_for(tmp_path: Path) -> None:
    file, trace = real(tmp_path)
    data, size = bytearray(trace.read_bytes()), read_trace(trace).rows.itemsize
    data[len(data) - 3 * size - 2] ^= 0x40  # in the last number of tick 8, which is of what was offered
    trace.write_bytes(data)
    with pytest.raises(ContractError, match=f"episode 0, tick 8, signal {MULTIGOAL.action_names[-1]}"):
        main([str(trace), "--policy", str(file)])
    main([str(trace), "--policy", str(file), "--tolerance", "1000"])


def test_a_file_with_other_signals_is_refused(tmp_path: Path) -> None:
    file, _ = real(tmp_path)
    traces.write(tmp_path / "other.trace")
    with pytest.raises(ContractError, match=r"other\.trace, observation"):
        main([str(tmp_path / "other.trace"), "--policy", str(file)])


def test_a_run_whose_actions_were_blended_of_several_answers_is_refused(tmp_path: Path) -> None:
    file, trace = real(tmp_path, blend=0.1)
    with pytest.raises(UsageError, match="sim --blend"):
        main([str(trace), "--policy", str(file)])


@pytest.mark.parametrize("tolerance", ["-1", "nan"])
def test_a_tolerance_that_makes_no_sense_is_refused(tmp_path: Path, tolerance: str) -> None:
    with pytest.raises(UsageError, match="--tolerance"):
        main([str(tmp_path / "t"), "--policy", str(tmp_path / "p"), "--tolerance", tolerance])
