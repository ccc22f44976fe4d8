"""The table of policy types: a new type is one file and one row, and every command supports it."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from docs.generate.export_page import FIGURES, measured, page
from odeploy_export.cli.verify import main as verify
from odeploy_export.kinds import table
from odeploy_export.kinds.kind import Deployment
from odeploy_export.kinds.table import KINDS, deployed, deployed_as, kind_of
from odeploy_export.options import SamplerOptions
from odeploy_export.samplers.settings import Axes, settings
from odeploy_export.sources.source import Source
from odeploy_runtime.cli.inspect import main as inspect
from odeploy_runtime.errors import ContractError, ParityError, UsageError
from odeploy_runtime.inference.onnx_policy import OnnxPolicy
from odeploy_sim.catalogue.mazes import MAZE_MEDIUM
from odeploy_train.policies import kinds as trained
from tests.affine_kind import AFFINE, AffineGraph, AffinePolicy
from tests.best_of_n import best_of_diffusion, best_of_n
from tests.chunk_flow import chunk_flow
from tests.exports import export
from tests.policies import flow_policy, recorded, student_policy

NO_NOISE = np.zeros((1, 0, 0, 0), np.float32)


@pytest.fixture
def affine(monkeypatch: pytest.MonkeyPatch) -> Source:
    """A policy whose type is an extra row of the table."""
    monkeypatch.setattr(table, "KINDS", (*KINDS, AFFINE))
    seen = recorded(MAZE_MEDIUM, rows=256)
    return Source(AffinePolicy(seen.shape[1], 2), "regression", "line", MAZE_MEDIUM, seen, {})


def test_a_new_type_is_exported_and_its_file_matches_torch(affine: Source, tmp_path: Path) -> None:
    out = tmp_path / "p.onnx"
    manifest = export(affine, out)
    assert (manifest.kind, manifest.horizon, manifest.sampler) == ("mlp", 1, None)
    assert 0 < manifest.parity[0].max_error <= 1e-5
    policy = OnnxPolicy.load(out)
    for observation in recorded(MAZE_MEDIUM):
        expected = affine.policy(torch.from_numpy(observation[None])).numpy()
        assert np.allclose(policy.infer(observation, NO_NOISE), expected, atol=1e-5)


def test_a_wrong_graph_of_a_new_type_is_refused_with_its_fault(
    affine: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without_normaliser(policy: AffinePolicy) -> AffineGraph:
        policy = AffinePolicy(*policy.last.weight.shape[::-1])
        policy.observation_mean.zero_()
        policy.observation_std.fill_(1)
        return AffineGraph(policy)

    monkeypatch.setattr("tests.affine_kind.AffineGraph", without_normaliser)
    with pytest.raises(ParityError, match=r"signal motor_[xy]: .* observation's normaliser were left out"):
        export(affine, tmp_path / "p.onnx")
    assert list(tmp_path.iterdir()) == []


def test_an_existing_file_of_a_new_type_is_verified(
    affine: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Card:
        method = "regression"

    out = tmp_path / "p.onnx"
    export(affine, out)
    monkeypatch.setattr("odeploy_export.sources.runs.load_policy", lambda folder, last: (affine.policy, Card))
    monkeypatch.setattr("sys.argv", ["verify", str(out), "--run", "run"])
    verify()
    assert capsys.readouterr().out.startswith("parity check: 77 rows at batches (1, 3, 8): max error")


def test_a_new_type_appears_in_the_export_page_and_in_inspect(
    affine: Source, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (row,) = measured(affine, ("cpu",))
    assert (row.policy, row.sampler, row.noise) == ("regression", "-", "none")
    assert "| affine | `mlp` | – |" in page(json.loads(FIGURES.read_text()))
    export(affine, tmp_path / "p.onnx")
    inspect([str(tmp_path / "p.onnx")])
    assert "regression (mlp) for maze-medium" in capsys.readouterr().out


def test_options_and_searches_that_a_new_type_lacks_are_refused_with_its_name(affine: Source) -> None:
    with pytest.raises(UsageError, match="--steps: expected a flow or diffusion policy, got one of type affine"):
        deployed(affine.policy, SamplerOptions(steps=3), 2)
    with pytest.raises(ContractError, match="got one of type affine"):
        settings(affine.policy, Axes(), 2, "run")
    with pytest.raises(UsageError, match="--frozen: expected a flow policy with action chunks"):
        deployed(affine.policy, SamplerOptions(), 2, frozen=1)


def test_a_policy_without_a_row_has_no_type() -> None:
    with pytest.raises(TypeError, match="no policy type for AffinePolicy"):
        kind_of(AffinePolicy(2, 1))


def test_every_type_that_training_writes_has_a_row() -> None:
    rows = [kind.policy for kind in KINDS]
    assert all(kind.policy in rows for kind in trained.KINDS.values())


def test_names_are_unique_and_published_options_are_options_of_the_type() -> None:
    assert len({kind.name for kind in KINDS}) == len(KINDS)
    for kind in KINDS:
        for options in kind.published:
            given = {name for name, value in vars(options).items() if value is not None}
            assert given <= set(kind.options), kind.name


def test_with_one_candidate_the_deployment_has_no_critics() -> None:
    for policy in (best_of_n(MAZE_MEDIUM), best_of_diffusion(MAZE_MEDIUM)):
        one, many = (deployed(policy, SamplerOptions(candidates=n, steps=2), 2) for n in (1, 4))
        assert one.policy is policy.proposer
        assert many.policy is policy
        assert (one.noise.shape[0], many.noise.shape[0]) == (1, 4)


def test_the_manifest_restores_the_deployment(tmp_path: Path) -> None:
    policy = chunk_flow(MAZE_MEDIUM, 4)
    source = Source(policy, "fm-bc", "p", MAZE_MEDIUM, recorded(MAZE_MEDIUM, rows=128), {})
    for frozen in (None, 2):
        expected = deployed(policy, SamplerOptions(steps=2), 2, frozen)
        manifest = export(source, tmp_path / "p.onnx", steps=2, frozen=frozen, tolerance=1e-3)
        found: Deployment = deployed_as(policy, manifest)
        assert found == expected
        assert found.kind.freezes == (frozen is not None)


@pytest.mark.parametrize(
    ("policy", "name"), [(flow_policy(MAZE_MEDIUM), "flow"), (student_policy(MAZE_MEDIUM), "student")]
)
def test_a_type_keeps_only_its_own_options(policy: object, name: str) -> None:
    kind = kind_of(policy)
    assert kind.name == name
    options = kind.options_of(noise="zero", steps=3, candidates=4)
    assert options == (SamplerOptions(noise="zero", steps=3) if name == "flow" else SamplerOptions())
