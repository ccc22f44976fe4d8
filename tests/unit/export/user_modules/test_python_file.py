"""A torch module from the user's Python file, and its weights, which are never executed."""

import pickle
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from odeploy_export.user_modules.python_file import load_module
from odeploy_runtime.errors import OdeployError

NET = """
from dataclasses import dataclass
from torch import nn
from layers_beside import WIDTH

@dataclass
class Sizes:
    hidden: int = WIDTH

class Net(nn.Sequential):
    def __init__(self, inputs=4):
        super().__init__(nn.Linear(inputs, Sizes().hidden), nn.Tanh())

class Needs(nn.Module):
    def __init__(self, size):
        super().__init__()

def built():
    return Net()

def fails():
    raise ValueError("no file\\nhere")

number = 3
text = str
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "layers_beside.py").write_text("WIDTH = 5\n")
    path = tmp_path / "net.py"
    path.write_text(NET)
    return path


@pytest.mark.parametrize("name", ["Net", "built"])
def test_a_class_or_a_function_returns_the_module(file: Path, name: str) -> None:
    before = list(sys.path)
    module, provenance = load_module(f"{file}:{name}", None)
    assert isinstance(module, nn.Sequential)
    assert module[0].weight.shape == (5, 4)
    assert len(provenance["source_hash"]) == 64
    assert sys.path == before


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_weights_are_loaded_from_either_format(file: Path, suffix: str) -> None:
    state = {"0.weight": torch.arange(20.0).reshape(5, 4), "0.bias": torch.ones(5)}
    path = file.with_name(f"w{suffix}")
    (save_file if suffix == ".safetensors" else torch.save)(state, path)
    module, provenance = load_module(f"{file}:Net", path)
    assert torch.equal(module.state_dict()["0.weight"], state["0.weight"])
    assert len(provenance["weights_hash"]) == 64


@pytest.mark.parametrize(
    ("place", "fragment"),
    [
        ("net.py", "expected path.py:Class, or path.py:function, got net.py"),
        ("none.py:Net", "none.py: expected a Python file, got no such file"),
        ("net.py:Other", "expected a class or function Other, got none"),
        ("net.py:number", "expected a class or function number, got none"),
        ("net.py:text", "expected a torch.nn.Module, got str"),
        ("net.py:Needs", "expected Needs() without arguments to return a module, got TypeError"),
        (
            "net.py:fails",
            "net.py, line 22: expected fails() without arguments to return a module, got ValueError: no",
        ),
        ("broken.py:Net", "broken.py, line 2: expected a file that Python imports, got ZeroDivisionError"),
        ("layers_beside.txt:Net", "expected a Python file, got '.txt'"),
    ],
)
def test_a_name_without_a_module_is_refused_with_its_place(
    file: Path, place: str, fragment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(file.parent)
    Path("broken.py").write_text("x = 0\ny = 1 / x\n")
    Path("layers_beside.txt").write_text("")
    with pytest.raises(OdeployError) as refused:
        load_module(place, None)
    assert fragment in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("state", "fragment"),
    [
        ({"0.weight": torch.zeros(5, 3), "0.bias": torch.zeros(5)}, "0.weight: expected shape (5, 4)"),
        ({"0.weight": torch.zeros(5, 4)}, "weight 0.bias: expected shape (5,)"),
        (
            {"0.weight": torch.zeros(5, 4), "0.bias": torch.zeros(5), "x": torch.zeros(1)},
            "weight x: expected no such",
        ),
        (
            {"model": {"0.weight": 1.0}},
            "expected a state dict: only tensors, by name, got a",
        ),
    ],
)
def test_weights_that_do_not_fit_are_refused_by_name(
    file: Path, state: object, fragment: str, tmp_path: Path
) -> None:
    torch.save(state, tmp_path / "w.pt")
    with pytest.raises(OdeployError) as refused:
        load_module(f"{file}:Net", tmp_path / "w.pt")
    assert fragment in str(refused.value)


class Program:
    """A pickle that would write a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.path,)


def test_weights_that_are_a_program_are_refused_and_not_run(file: Path, tmp_path: Path) -> None:
    (tmp_path / "w.pt").write_bytes(pickle.dumps(Program(tmp_path / "written"), protocol=2))
    (tmp_path / "w.safetensors").write_bytes(b"hello")
    for name in ("w.pt", "w.safetensors"):
        with pytest.raises(OdeployError, match="expected a state dict: only tensors, by name"):
            load_module(f"{file}:Net", tmp_path / name)
    with pytest.raises(OdeployError, match="expected weights, got No such file"):
        load_module(f"{file}:Net", tmp_path / "none.pt")
    assert not (tmp_path / "written").exists()
