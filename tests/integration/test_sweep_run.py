"""The steps of one run of a sweep, each in a separate process."""

from pathlib import Path

import pytest

from odeploy_train.sweeps import steps as sweep_run
from odeploy_train.sweeps.spec import RunSpec
from tests.integration.programs import odeploy


@pytest.mark.timeout(240)
def test_subtasks_in_another_order_than_in_the_catalogue_are_trained_and_measured(tmp_path: Path) -> None:
    options = {"steps": 32, "envs": 1, "ticks": 32, "widths": [8], "workers": 0, "score_episodes": 0}
    spec = RunSpec("PPO", "ppo", "kitchen:microwave+light-switch", 0, options, {}, None, 1, (1.0,))
    trained = sweep_run.train(spec, tmp_path, None, None)
    line = sweep_run.measure(spec, trained, tmp_path)
    assert (line["task"], line["scored_by"]) == (spec.task, "return")
    assert line["scores"]["1"]["episodes"] == 1


@pytest.mark.timeout(240)
def test_a_run_that_keeps_its_best_policy_has_a_score_of_its_last_one_too(tmp_path: Path) -> None:
    options = {"steps": 96, "envs": 1, "ticks": 32, "widths": [8], "workers": 0, "score_every": 32}
    options |= {"score_episodes": 1, "keep": "best", "batch": 32}
    spec = RunSpec("PPO", "ppo", "cartpole-balance", 0, options, {}, None, 2, (1.0,))
    trained = sweep_run.train(spec, tmp_path, None, None)
    line = sweep_run.measure(spec, trained, tmp_path)
    assert line["version"] == spec.version
    assert line["scores"].keys() == line["last"].keys() == {"1"}
    fingerprints = {line[which]["1"]["fingerprint"] for which in ("scores", "last")}
    assert len(fingerprints) == 2  # even of equal weights: the file's provenance says which policy it is
    assert verified(tmp_path / f"{spec.key}.last.onnx", trained)


def verified(policy: Path, trained: Path) -> bool:
    return odeploy("verify", str(policy), "--run", str(trained)).returncode == 0
