"""Environments of the peers: one each, beside ONNX Runtime of the same version; what does not install is named."""

import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from tests.timing.peers.peer import Peer

_INSTALL_S = 900.0


def python_of(peer: Peer, folder: Path) -> Path | str:
    """Return the interpreter of a peer, whose environment is made if it is not there.

    Return the last line of the installer's output if that fails.

    Args:
        peer: the peer.
        folder: folder of all environments.
    """
    if not peer.environment:
        return Path(sys.executable)
    environment = folder / peer.environment
    python, done = environment / "bin/python", environment / "installed"
    if done.exists():
        return python
    requirements = *peer.packages, "numpy", f"onnxruntime=={version('onnxruntime')}"
    for command in (
        [sys.executable, "-m", "venv", "--clear", str(environment)],
        [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *requirements],
    ):
        try:
            ended = subprocess.run(command, capture_output=True, text=True, timeout=_INSTALL_S, check=False)
        except subprocess.TimeoutExpired:
            return f"not installed within {_INSTALL_S:g} s"
        if ended.returncode != 0:
            return (ended.stderr.strip().splitlines() or ["pip failed without a message"])[-1]
    for tests in environment.glob("lib/python*/site-packages/tests"):
        shutil.rmtree(tests)  # some package's own, which would hide this folder
    done.touch()
    return python


def versions(peer: Peer, python: Path) -> str:
    """Return the versions of a peer's own packages."""
    names = [package.split("[")[0] for package in peer.packages]
    if not names:
        return ""
    code = "import sys, importlib.metadata as m; print(*(f'{n} {m.version(n)}' for n in sys.argv[1:]), sep=', ')"
    return subprocess.run(
        [str(python), "-c", code, *names], capture_output=True, text=True, check=True
    ).stdout.strip()
