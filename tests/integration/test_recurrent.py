"""A recurrent policy from training to robot: the served policy keeps its state from tick to tick."""

from pathlib import Path

import numpy as np
import pytest

from odeploy_export.cli import export
from odeploy_runtime.inference.onnx_policy import OnnxPolicy
from odeploy_runtime.trace.format import APPLIED
from odeploy_runtime.trace.reader import read_trace
from odeploy_sim.cli import collect
from odeploy_train.behaviour_cloning import gru_bc
from tests.integration.programs import odeploy

NO_NOISE = np.zeros((1, 0, 0, 0), np.float32)


@pytest.mark.thorough
def test_lockstep_gives_the_actions_of_a_replay_in_process_and_the_file_passes_its_checks(tmp_path: Path) -> None:
    demos, run, file, trace = (tmp_path / name for name in ("demos-v0", "run", "gru.onnx", "sim.trace"))
    collect.main(["maze-medium", "--episodes", "2", "--out", str(demos)])
    sizes = ["--lanes", "2", "--ticks", "4", "--state-size", "16", "--steps", "5", "--score-episodes", "0"]
    gru_bc.main(["--task", "maze-medium", "--demos", str(demos), "--out", str(run), *sizes])
    export.main([str(run), "--out", str(file)])

    driven = odeploy(
        *("sim", "maze-medium", "--policy", str(file), "--mode", "lockstep", "--episodes", "2"),
        *("--trace", str(trace)),
    )
    assert driven.returncode == 0, driven.stderr
    rows, policy, fresh = read_trace(trace).rows, OnnxPolicy.load(file), []
    assert (rows["kind"] == APPLIED).all()
    assert rows["episode"].max() == 1
    for row in rows:
        if row["tick"] == 0:
            policy.reset()
        action = policy.infer(row["observation"], NO_NOISE)[0].copy()
        assert np.array_equal(action, row["action"])
        policy_state = policy.state.copy()
        policy.reset()
        fresh.append(np.array_equal(policy.infer(row["observation"], NO_NOISE)[0], action))
        policy.state[:] = policy_state
    assert sum(fresh) < len(fresh) / 2  # without the state most actions differ

    verified = odeploy("verify", str(file), "--run", str(run))
    assert verified.returncode == 0, verified.stderr
    assert "golden rows: 8 within" in verified.stdout
    assert "parity check: 77 rows" in verified.stdout
