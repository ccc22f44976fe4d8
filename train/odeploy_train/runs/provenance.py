"""Provenance: package versions and the hash of the weights."""

import hashlib
import importlib.metadata
import platform

from torch import nn

PACKAGES = ("torch", "numpy", "mujoco", "gymnasium", "gymnasium-robotics", "minari")


def versions() -> dict[str, str]:
    """Return versions of Python and of the packages that affect a training's numbers."""
    return {"python": platform.python_version()} | {p: importlib.metadata.version(p) for p in PACKAGES}


def weights_hash(policy: nn.Module) -> str:
    """Return the SHA-256 of all parameters and buffers, in order."""
    digest = hashlib.sha256()
    for tensor in policy.state_dict().values():
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()
