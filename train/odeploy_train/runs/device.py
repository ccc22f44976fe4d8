"""What minibatches are learnt on: a GPU where there is one, by the same command as without; compiled or not."""

import shutil
from typing import Literal

import torch

from odeploy_runtime.errors import MissingError

Device = Literal["auto", "cpu", "cuda"]


def chosen(device: Device) -> str:
    """The device of torch that an option means.

    Raises:
        MissingError: `cuda` was asked for and torch sees none.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise MissingError(
            where="--device cuda",
            expected="a GPU that torch can use",
            got=f"none that torch {torch.__version__} sees",
            remedy="install a build of torch for it, or leave the option out",
        )
    return "cuda" if device == "auto" and torch.cuda.is_available() else device.replace("auto", "cpu")


def require_compiler() -> None:
    """Refuses where there is no compiler for what `torch.compile` writes.

    Raises:
        MissingError: so.
    """
    if shutil.which("g++") is None:
        raise MissingError(
            where="--compile",
            expected="the C++ compiler g++, to which torch.compile hands what it writes",
            got="none on the PATH",
            remedy="install it, or leave the option out",
        )
