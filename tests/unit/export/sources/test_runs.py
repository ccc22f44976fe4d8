"""Export of a run without demonstrations: the policy plays to collect observations for its parity check."""

from pathlib import Path

import pytest

from odeploy_export.cli.export import main as export
from odeploy_export.sources.runs import from_run
from odeploy_runtime.inference.onnx_policy import OnnxPolicy
from odeploy_train.flow_rl import fpo_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The smallest run of FPO."""
    out = tmp_path_factory.mktemp("fpo") / "run"
    fpo_run.main([
        "--task", "hopper", "--out", str(out), "--steps", "64", "--envs", "2", "--ticks", "32", "--workers", "0",
        "--score-episodes", "0",
    ])  # fmt: skip
    return out


def test_a_flow_without_demonstrations_plays_reproducibly(run: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    source, again = from_run(run, None), from_run(run, None)
    assert source.method == "fpo"
    assert source.recorded.shape[1] == 11
    assert (source.recorded == again.recorded).all()
    assert "played for the parity check: return" in caplog.messages[0]


def test_a_run_of_fpo_becomes_an_ordinary_policy_file(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "fpo.onnx"
    export([str(run), "--out", str(out), "--solver", "heun", "--steps", "3", "--noise", "zero"])
    policy = OnnxPolicy.load(out)
    assert policy.golden_error <= 1e-5
    manifest = policy.manifest
    assert (manifest.kind, manifest.method, manifest.sampler_label) == ("flow", "fpo", "heun × 3")
    assert manifest.parity[0].rows == 128 + 64 + 7  # with edges on both sides of the clip
