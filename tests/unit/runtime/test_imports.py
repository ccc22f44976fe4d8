"""Imports of each package: the runtime imports no torch, no graph tools and no simulator."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
ROOF = ROOT / "runtime"
FILES = (ROOF / "odeploy_runtime").rglob("*.py")
MODULES = sorted(".".join(f.relative_to(ROOF).with_suffix("").parts) for f in FILES if f.stem != "__init__")
TOO_HEAVY = {"torch", "onnx", "onnxscript", "mujoco", "gymnasium", "gymnasium_robotics", "minari", "tensorboard"}
OTHER_PACKAGES = {"odeploy_train", "odeploy_export", "odeploy_sim"}


def top_level_after(statement: str) -> set[str]:
    """Return the top-level names in `sys.modules` of a new process after a statement."""
    code = f"import sys\n{statement}\nprint(*{{name.split('.')[0] for name in sys.modules}})"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return set(result.stdout.split())


def test_no_module_of_the_runtime_imports_torch_graph_tools_or_a_simulator() -> None:
    assert "odeploy_runtime.transport.messages" in MODULES
    found = top_level_after(f"import {', '.join(MODULES)}")
    assert "odeploy_runtime" in found
    assert found & (TOO_HEAVY | OTHER_PACKAGES) == set()


@pytest.mark.parametrize("module", ["odeploy_runtime.robot.client", "odeploy_runtime.safety.guard"])
def test_a_robot_without_inference_needs_no_onnxruntime(module: str) -> None:
    assert "onnxruntime" not in top_level_after(f"import {module}")


def test_importing_odeploy_imports_no_other_package() -> None:
    found = top_level_after("import odeploy")
    assert "odeploy" in found
    assert found & (TOO_HEAVY | OTHER_PACKAGES | {"numpy", "zmq", "onnxruntime"}) == set()
