"""Robots that are not catalogued, from an expert to the report, by the commands of the how-to alone."""

import contextlib
import json
from pathlib import Path

import pytest
import torch

from odeploy_runtime.realtime.serving import serving
from tests.house.layout import ROOT
from tests.integration.programs import in_process

SHORT = "--steps", "20", "--score-episodes", "1"
SAMPLER = "--solver", "euler", "--steps", "4", "--noise", "normal"


@pytest.mark.thorough
@pytest.mark.timeout(600)
@pytest.mark.parametrize("task", ["gym:Reacher-v5", "gym:Pusher-v5", str(ROOT / "examples/arm/arm.toml")])
def test_a_robot_goes_from_an_expert_to_the_report(tmp_path: Path, task: str) -> None:
    threads = torch.get_num_threads()
    of_task, demos = ("--task", task), ("--demos", "demos-v0")
    with contextlib.chdir(tmp_path):
        in_process("train", "expert", *of_task, "--algorithm", "PPO", "--steps", "2048", "--out", "expert")
        in_process("export", "--from", "sb3", "expert/best.zip", *of_task, "--out", "expert.onnx")
        in_process("collect", task, "--policy", "expert.onnx", "--episodes", "3", "--out", "demos-v0")
        in_process("train", "bc", *of_task, *demos, "--out", "bc", *SHORT)
        in_process("train", "fm-bc", *of_task, *demos, "--out", "fm", *SHORT)
        in_process("train", "distill", *of_task, *demos, "--teacher", "fm", "--out", "student", *SHORT)
        in_process("train", "ppo", *of_task, "--out", "ppo", "--steps", "2048", "--score-episodes", "1")
        in_process("train", "fmer", *of_task, "--out", "fmer", "--steps", "300", "--score-episodes", "1")
        files = []
        for method, options in {"bc": (), "fm": SAMPLER, "student": (), "ppo": (), "fmer": ()}.items():
            files.append(f"{method}.onnx")
            in_process("export", method, *of_task, "--out", files[-1], *options)
            in_process("verify", files[-1])  # with --task it would find that nothing was learned
        torch.set_num_threads(threads)
        with serving(tmp_path / "student.onnx") as endpoint:
            in_process("sim", task, "--endpoint", endpoint, "--episodes", "1", "--trace", "sim.trace")
        in_process("bench", *files, *of_task, "--rates", "50", "--episodes", "1", "--out", "bench")
        in_process("report", "bench", "--out", "report.html")
    assert "student" in (tmp_path / "report.html").read_text()
    assert len(json.loads((tmp_path / "bench/bench.json").read_text())["rows"]) == len(files)
