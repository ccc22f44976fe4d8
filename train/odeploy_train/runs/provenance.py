"""Provenance: package versions, odeploy's revision, the hash of the weights."""

import hashlib
import importlib.metadata
import platform
from pathlib import Path

from torch import nn

from odeploy_runtime.realtime.child_process import PIPE, finish

PACKAGES = ("torch", "numpy", "mujoco", "gymnasium", "gymnasium-robotics", "minari")
SOURCE = Path(__file__).resolve().parents[3]


def versions() -> dict[str, str]:
    """Return versions of Python and of the packages that affect a training's numbers."""
    return {"python": platform.python_version()} | {p: importlib.metadata.version(p) for p in PACKAGES}


def git_revision(source: Path = SOURCE) -> str | None:
    """Return the revision of odeploy's own checkout.

    A repository of the user around an installed odeploy does not count.
    """

    def git(*arguments: str) -> str | None:
        try:
            status, output, _ = finish(["git", "-C", str(source), *arguments], stdout=PIPE)
        except OSError:  # no git on this machine
            return None
        return output.strip() if status == 0 else None

    top = git("rev-parse", "--show-toplevel")
    if top is None or Path(top).resolve() != source.resolve():
        return None
    return git("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")


def weights_hash(policy: nn.Module) -> str:
    """Return the SHA-256 of all parameters and buffers, in order."""
    digest = hashlib.sha256()
    for tensor in policy.state_dict().values():
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()
