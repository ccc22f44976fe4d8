"""Weights beside an ONNX file: read into one sealed file, or refused by name and bounds."""

import shutil
import warnings
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from odeploy_export.pipeline import export_policy
from odeploy_export.sources.external import from_external
from odeploy_export.sources.onnx_file import read_model
from odeploy_export.sources.onnx_model import from_onnx
from odeploy_runtime.errors import OdeployError
from odeploy_runtime.inference.onnx_policy import OnnxPolicy
from odeploy_sim.catalogue.locomotion import HOPPER
from tests.policies import recorded


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, nn.Module]:
    """Return what torch.onnx.export writes today, and the module."""
    folder = tmp_path_factory.mktemp("beside")
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(11, 32), nn.ELU(), nn.Linear(32, 3), nn.Tanh()).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations inside torch's own exporter
        program = torch.onnx.export(net, (torch.zeros(1, 11),), dynamo=True, verbose=False)
    assert program is not None
    program.save(str(folder / "p.onnx"), external_data=True)
    return folder / "p.onnx", net


def test_weights_beside_the_file_are_sealed_into_the_policy_file(
    written: tuple[Path, nn.Module], tmp_path: Path
) -> None:
    path, net = written
    assert (path.parent / "p.onnx.data").exists()
    source = from_external(from_onnx(path, HOPPER), HOPPER, recorded(HOPPER, 64))
    export_policy(source, tmp_path / "p.onnx")
    policy, row = OnnxPolicy.load(tmp_path / "p.onnx"), recorded(HOPPER)[3]
    with torch.no_grad():
        expected = net(torch.from_numpy(row[None])).numpy()
    assert np.allclose(policy.infer(row, np.zeros((1, 0, 0, 0), np.float32)), expected, atol=1e-5)
    assert [p.name for p in tmp_path.iterdir()] == ["p.onnx"]


@pytest.mark.parametrize(
    ("entry", "value", "fragment"),
    [
        ("location", "../p.onnx.data", "expected a plain file name in the same folder, got '../p.onnx.data'"),
        ("location", "/etc/passwd", "expected a plain file name in the same folder, got '/etc/passwd'"),
        ("location", "none.data", "expected its numbers in none.data, beside the file, got No such file"),
        ("offset", "100000000", "expected bytes within the"),
        ("length", "100000000", "expected bytes within the"),
    ],
)
def test_weights_elsewhere_or_beyond_their_file_are_refused(
    entry: str, value: str, fragment: str, written: tuple[Path, nn.Module], tmp_path: Path
) -> None:
    for file in written[0].parent.iterdir():
        shutil.copy(file, tmp_path)
    model = onnx.load(tmp_path / "p.onnx", load_external_data=False)
    tensor = next(t for t in model.graph.initializer if t.external_data)
    for each in tensor.external_data:
        each.value = value if each.key == entry else each.value
    (tmp_path / "p.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(OdeployError) as refused:
        read_model(tmp_path / "p.onnx")
    assert fragment in str(refused.value)
    assert f"weight {tensor.name}" in str(refused.value)


def test_a_link_to_a_device_beside_the_file_is_not_read(written: tuple[Path, nn.Module], tmp_path: Path) -> None:
    shutil.copy(written[0], tmp_path)
    (tmp_path / "p.onnx.data").symlink_to("/dev/zero")
    with pytest.raises(OdeployError, match="got a device instead of a file"):
        read_model(tmp_path / "p.onnx")
