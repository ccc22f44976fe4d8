"""What runs: `odeploy --version`."""

from importlib.metadata import version

from odeploy_runtime.realtime.machine import git_revision, machine

_NAMES = {
    "python": "Python",
    "onnxruntime": "ONNX Runtime",
    "onnxruntime-gpu": "ONNX Runtime (GPU)",
    "mujoco": "MuJoCo",
}


def version_line() -> str:
    """Return odeploy's version and commit, and those that numbers depend on."""
    commit = git_revision()
    facts = machine()
    libraries = [f"{name} {facts[key]}" for key, name in _NAMES.items() if key in facts]
    own = version("odeploy") + (f" ({commit[:12]}{'-dirty' * commit.endswith('-dirty')})" if commit else "")
    return ", ".join([f"odeploy {own}", *libraries])
