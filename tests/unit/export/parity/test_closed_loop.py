"""Closed-loop comparison: torch and the file play the same episodes, up to the first tick that differs."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from odeploy_export.parity.check import Reference
from odeploy_export.parity.closed_loop import ClosedLoop, compare
from odeploy_export.pipeline import CLOSED_LOOP
from odeploy_export.sources.source import Source
from odeploy_runtime.errors import UsageError
from odeploy_runtime.inference.onnx_policy import OnnxPolicy
from odeploy_runtime.policy_file.file import parse, read
from odeploy_runtime.policy_file.manifest import Sampler
from odeploy_runtime.typed_json import decode
from odeploy_sim.catalogue.mazes import MAZE_MEDIUM
from odeploy_train.modules.ode import uniform_grid
from odeploy_train.policies.flow import FlowPolicy
from odeploy_train.policies.student import StudentPolicy
from tests.exports import export, reference_of
from tests.policies import flow_policy, policy_bytes, recorded, student_policy
from tests.thorough import mostly_thorough

SHORT = dataclasses.replace(MAZE_MEDIUM, horizon=12)


def file(kind: str = "mlp") -> OnnxPolicy:
    return OnnxPolicy(parse(Path("p.onnx"), policy_bytes("maze-medium", kind)))


def torch_side(policy: FlowPolicy | StudentPolicy) -> Reference:
    sampler = Sampler("euler", 4, uniform_grid(4)) if isinstance(policy, FlowPolicy) else None
    return reference_of(policy, sampler, torch.float32)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.mark.parametrize("kind", mostly_thorough(["flow", "mlp"]))
def test_the_policy_and_its_file_play_equal_episodes(kind: str) -> None:
    policy = student_policy(MAZE_MEDIUM) if kind == "mlp" else flow_policy(MAZE_MEDIUM)
    agreement = compare(torch_side(policy), file(kind), SHORT, episodes=2)
    assert agreement.parted == (None, None)
    assert agreement.ticks == (12, 12)
    assert agreement.torch == agreement.onnx
    assert "0 of 2 episodes part" in str(agreement)
    assert agreement.provider == "CPUExecutionProvider"


def test_another_policy_differs_at_the_first_tick() -> None:
    agreement = compare(torch_side(student_policy(MAZE_MEDIUM, seed=1)), file(), SHORT, episodes=1)
    assert agreement.parted == (0,)
    assert "1 of 1 episodes part by more than 0.001, first at tick 0" in str(agreement)


def test_the_reported_tick_depends_on_the_tolerance() -> None:
    policy = student_policy(MAZE_MEDIUM)
    policy.observation_mean[0] += 1e-4  # a small error, which grows along the episode
    close, wide = (
        compare(torch_side(policy), file(), SHORT, episodes=1, tolerance=t).parted[0] for t in (1e-9, 1.0)
    )
    assert (close, wide) == (0, None)


def test_zero_episodes_are_refused() -> None:
    with pytest.raises(UsageError, match="--episodes: expected at least one, got 0"):
        compare(torch_side(student_policy(MAZE_MEDIUM)), file(), SHORT, episodes=0)


def test_an_export_records_its_closed_loop_comparison_in_the_manifest(tmp_path: Path) -> None:
    source = Source(student_policy(MAZE_MEDIUM), "distill", "p", SHORT, recorded(MAZE_MEDIUM, rows=256), {})
    export(source, tmp_path / "p.onnx", closed_loop=2)
    kept = decode(ClosedLoop, read(tmp_path / "p.onnx").manifest.provenance[CLOSED_LOOP], "closed_loop")
    assert (kept.parted, kept.ticks) == ((None, None), (12, 12))
    assert np.isfinite(kept.onnx).all()
