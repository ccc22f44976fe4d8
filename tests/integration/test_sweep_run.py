"""The steps of one run of a sweep, each in a separate process."""

from pathlib import Path

import pytest

from odeploy_train.sweeps import steps as sweep_run
from odeploy_train.sweeps.spec import RunSpec


@pytest.mark.timeout(240)
def test_subtasks_in_another_order_than_in_the_catalogue_are_trained_and_measured(tmp_path: Path) -> None:
    options = {"steps": 32, "envs": 1, "ticks": 32, "widths": [8], "workers": 0, "score_episodes": 0}
    spec = RunSpec("PPO", "ppo", "kitchen:microwave+light-switch", 0, options, {}, None, 1, (1.0,))
    trained = sweep_run.train(spec, tmp_path, None, None)
    line = sweep_run.measure(spec, trained, tmp_path)
    assert (line["task"], line["scored_by"]) == (spec.task, "return")
    assert line["scores"]["1"]["episodes"] == 1
