"""`odeploy export --from module|torchscript|onnx`: any policy becomes one file, with `--sign` a signed one."""

import json
import os
import signal
import warnings
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from odeploy_export.cli.export import main as export
from odeploy_runtime.errors import OdeployError
from odeploy_runtime.inference.onnx_policy import OnnxPolicy
from odeploy_runtime.policy_file.file import read
from odeploy_sim.catalogue.locomotion import HOPPER
from tests.integration.programs import odeploy, started
from tests.policies import recorded
from tests.thorough import mostly_thorough

NET = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.last = nn.Linear(11, 3)
    def forward(self, observation):
        return torch.tanh(self.last(observation))
"""
WEIGHT = np.random.default_rng(0).standard_normal((3, 11)).astype(np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One policy, tanh(W o), in all three forms: net.py with w.pt, net.ts, net.onnx."""
    made = tmp_path_factory.mktemp("foreign")
    (made / "net.py").write_text(NET)
    torch.save({"last.weight": torch.from_numpy(WEIGHT), "last.bias": torch.zeros(3)}, made / "w.pt")
    net = torch.nn.Sequential(torch.nn.Linear(11, 3, bias=False), torch.nn.Tanh())
    net[0].weight.data = torch.from_numpy(WEIGHT)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(net).save(str(made / "net.ts"))  # type: ignore[no-untyped-call]
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", size]) for name, size in (("o", 11), ("a", 3))
    ]
    nodes = [helper.make_node("Gemm", ["o", "W"], ["h"], transB=1), helper.make_node("Tanh", ["h"], ["a"])]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], [numpy_helper.from_array(WEIGHT, "W")])
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8), made / "net.onnx"
    )
    return made


def arguments(folder: Path, source: str) -> list[str]:
    model = {"module": "net.py:Net", "torchscript": "net.ts", "onnx": "net.onnx"}[source]
    weights = ["--weights", str(folder / "w.pt")] if source == "module" else []
    return ["--from", source, str(folder / model), *weights, "--task", "hopper"]


@pytest.mark.parametrize("source", mostly_thorough(["module", "torchscript", "onnx"]))
def test_each_form_becomes_the_same_policy(
    folder: Path, source: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "p.onnx"
    export([*arguments(folder, source), "--out", str(out)])
    output = capsys.readouterr().out
    assert "played for the parity check: return " in output
    assert "parity: 197 rows at batches (1, 3, 8): max error" in output
    policy, no_noise = OnnxPolicy.load(out), np.zeros((1, 0, 0, 0), np.float32)
    for observation in recorded(HOPPER):
        assert np.allclose(policy.infer(observation, no_noise)[0], np.tanh(WEIGHT @ observation), atol=1e-5)
    assert str(folder) not in json.dumps(policy.manifest.provenance)
    assert str(folder).encode() not in out.read_bytes()


@pytest.mark.parametrize(
    ("source", "options", "fragment"),
    [
        (
            "onnx",
            ["--steps", "5"],
            "--steps: expected --from run, got --from onnx",
        ),
        ("onnx", ["--weights", "w.pt"], "--weights: expected --from module, got --from onnx"),
        ("onnx", ["--noise-size", "3"], "--noise-size: expected --from module or torchscript, got --from onnx"),
        ("torchscript", ["--noise", "zero"], "--noise: expected --noise-size or --noise-input too"),
        ("module", ["--noise-size", "0"], "--noise-size: expected at least 1"),
        ("module", ["--normaliser", "n.npz"], "--normaliser: expected --from sb3, got --from module"),
        ("module", ["--closed-loop", "1"], "--closed-loop: expected --from run or sb3"),
        ("module", ["--task", "walker2d"], "task walker2d has 17 observation signals"),
    ],
)
def test_a_refused_export_writes_nothing(
    folder: Path, source: str, options: list[str], fragment: str, tmp_path: Path
) -> None:
    with pytest.raises(OdeployError, match=fragment):
        export([*arguments(folder, source), "--out", str(tmp_path / "p.onnx"), *options])
    assert list(tmp_path.iterdir()) == []


def test_an_export_without_a_task_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(OdeployError, match="--from onnx: expected --task, which the model does not name"):
        export(["--from", "onnx", str(folder / "net.onnx"), "--out", str(tmp_path / "p.onnx")])


@pytest.mark.thorough
def test_only_a_signed_export_is_served_with_require_signed(folder: Path, tmp_path: Path) -> None:
    created = odeploy("keys", str(tmp_path / "signer"), "--sign")
    assert created.returncode == 0, created.stderr
    keys = tmp_path / "keys"
    keys.mkdir()
    (tmp_path / "signer.sign").rename(keys / "signer.sign")
    signed, plain = tmp_path / "signed.onnx", tmp_path / "plain.onnx"
    secret = str(tmp_path / "signer.sign_secret")
    result = odeploy("export", *arguments(folder, "onnx"), "--out", str(signed), "--sign", secret)
    assert result.returncode == 0, result.stderr
    export([*arguments(folder, "onnx"), "--out", str(plain)])
    assert read(signed).manifest.golden == read(plain).manifest.golden
    endpoint = f"ipc://{tmp_path}/s.ipc"
    refused = odeploy("serve", str(plain), "--endpoint", endpoint, "--require-signed", str(keys))
    assert refused.returncode == 2
    assert "expected a signature by a key in" in refused.stderr
    assert "got none; export it with --sign KEY" in refused.stderr
    server = started("serve", str(signed), "--endpoint", endpoint, "--require-signed", str(keys))
    try:
        assert server.stdout is not None
        lines = (server.stdout.readline() for _ in range(2))  # the first may name the provider
        assert any("signed by signer, golden rows within" in line for line in lines)
    finally:
        os.kill(server.pid, signal.SIGINT)
        server.communicate(timeout=30)
