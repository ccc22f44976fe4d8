"""Export of solver grids and action chunks: the file contains them, contradictory options are refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from odeploy_export.graphs.mlp import MlpGraph
from odeploy_export.sources.source import Source
from odeploy_runtime.errors import OdeployError
from odeploy_runtime.inference.noise import NoiseSource
from odeploy_runtime.inference.onnx_policy import OnnxPolicy
from odeploy_runtime.policy_file.manifest import Manifest
from odeploy_sim.catalogue.mazes import MAZE_MEDIUM
from odeploy_train.modules.ode import solver
from odeploy_train.policies.mlp import MlpConfig, MlpPolicy
from tests.chunk_flow import chunk_flow
from tests.exports import export as export_file
from tests.policies import flow_policy, recorded, student_policy

H = 3


def chunk_mlp() -> MlpPolicy:
    torch.manual_seed(0)
    policy = MlpPolicy(MlpConfig(6, 2, (32,), squash=True, horizon=H)).float()
    policy.low.fill_(-1)
    policy.high.fill_(1)
    return policy.requires_grad_(False)


def export(policy: Any, out: Path, **options: Any) -> Manifest:
    source = Source(policy, "fm-bc", "p", MAZE_MEDIUM, recorded(MAZE_MEDIUM, rows=256), {})
    return export_file(source, out, **options)


def test_an_uneven_grid_passes_the_parity_check_and_is_in_the_file(tmp_path: Path) -> None:
    manifest = export(flow_policy(MAZE_MEDIUM), tmp_path / "p.onnx", solver="heun", t_grid="0,.1,1")
    assert manifest.sampler is not None
    assert (manifest.sampler.t_grid, manifest.sampler.steps) == ((0.0, 0.1, 1.0), 2)
    assert manifest.parity[0].max_error <= 1e-5
    assert OnnxPolicy.load(tmp_path / "p.onnx").manifest == manifest


def test_a_grid_of_equal_steps_gives_the_same_manifest_as_their_number(tmp_path: Path) -> None:
    by_number = export(flow_policy(MAZE_MEDIUM), tmp_path / "a.onnx", steps=2)
    by_grid = export(flow_policy(MAZE_MEDIUM), tmp_path / "a.onnx", t_grid="0,0.5,1", steps=2)
    assert by_grid == by_number


@pytest.mark.parametrize(
    "t_grid", ["", "0", "1", "0,1,1", "0,0.5,0.4,1", "1,0.5,0", "0.1,1", "0,0.9", "0,x,1", "0,nan,1", "0,2,1"]
)
def test_a_grid_that_does_not_rise_from_0_to_1_is_refused_and_nothing_is_written(
    t_grid: str, tmp_path: Path
) -> None:
    with pytest.raises(OdeployError, match=r"--t-grid: expected times that rise from 0 to 1.*; give for example"):
        export(flow_policy(MAZE_MEDIUM), tmp_path / "p.onnx", t_grid=t_grid)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"t_grid": "0,0.5,1", "steps": 3}, "--steps: expected 2, as --t-grid has, got 3"),
        ({"candidates": 4}, "--candidates: expected a policy with critics, got one of type flow"),
    ],
)
def test_options_that_contradict_the_policy_or_each_other_are_refused_by_name(
    options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(OdeployError, match=message):
        export(flow_policy(MAZE_MEDIUM), tmp_path / "p.onnx", **options)


@pytest.mark.parametrize(
    ("option", "value", "needs"), [("t_grid", "0,1", "a flow policy"), ("candidates", 2, "a policy with critics")]
)
def test_a_grid_or_candidates_for_an_mlp_are_refused(option: str, value: Any, needs: str, tmp_path: Path) -> None:
    with pytest.raises(OdeployError, match=f"expected {needs}, got one of type student"):
        export(student_policy(MAZE_MEDIUM), tmp_path / "p.onnx", **{option: value})


def test_a_served_flow_of_chunks_matches_torch(tmp_path: Path) -> None:
    policy = chunk_flow(MAZE_MEDIUM, H)
    manifest = export(policy, tmp_path / "p.onnx", solver="midpoint", steps=2)
    assert manifest.sampler is not None
    assert (manifest.horizon, manifest.noise.shape) == (H, (1, 1, 2 * H))
    assert manifest.parity[0].max_error <= 1e-5
    assert len(manifest.golden[0].action) == 2 * H
    served, noises = OnnxPolicy.load(tmp_path / "p.onnx"), NoiseSource(manifest.noise, seed=1)
    for seq, observation in enumerate(recorded(MAZE_MEDIUM)[:4]):
        noise = noises.draw(0, seq)
        draw, grid = torch.from_numpy(noise).view(1, -1), manifest.sampler.t_grid
        expected = policy.sample(torch.from_numpy(observation[None]), draw, solver("midpoint"), grid)
        got = served.infer(observation, noise)
        assert got.shape == (H, 2)
        assert np.allclose(got, expected.view(H, 2).numpy(), atol=1e-5)


def test_a_served_mlp_of_chunks_matches_torch(tmp_path: Path) -> None:
    policy = chunk_mlp()
    assert export(policy, tmp_path / "p.onnx").horizon == H
    served, observation = OnnxPolicy.load(tmp_path / "p.onnx"), recorded(MAZE_MEDIUM)[0]
    got = served.infer(observation, np.zeros((1, 0, 0, 0), np.float32))
    assert np.allclose(got, policy(torch.from_numpy(observation[None])).view(H, 2).numpy(), atol=1e-5)


def test_a_wrong_chunk_is_refused_with_its_action_and_signal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = chunk_mlp()
    other.low, other.high = other.low.clone(), other.high.clone()
    list(other.parameters())[-1].data[4] += 0.1  # motor_x of the chunk's last action
    monkeypatch.setattr("odeploy_export.kinds.deterministic.MlpGraph", lambda policy: MlpGraph(other))
    with pytest.raises(OdeployError, match="action 2 of the chunk, signal motor_x: expected torch and ONNX"):
        export(chunk_mlp(), tmp_path / "p.onnx")
    assert list(tmp_path.iterdir()) == []
