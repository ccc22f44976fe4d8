"""The torch device of minibatches, and what `torch.compile` needs."""

import shutil
from typing import Literal

import torch

from odeploy_runtime.errors import MissingError

Device = Literal["auto", "cpu", "cuda"]


def chosen(device: Device) -> str:
    """Return the torch device of an option.

    Raises:
        MissingError: `cuda` is requested, but torch finds no GPU.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise MissingError(
            where="--device cuda",
            expected="a GPU that torch can use",
            got=f"none that torch {torch.__version__} finds",
            remedy="install a build of torch for it, or leave the option out",
        )
    return "cuda" if device == "auto" and torch.cuda.is_available() else device.replace("auto", "cpu")


def require_compiler() -> None:
    """Require a C++ compiler for the output of `torch.compile`.

    Raises:
        MissingError: no compiler on the path.
    """
    if shutil.which("g++") is None:
        raise MissingError(
            where="--compile",
            expected="the C++ compiler g++, which torch.compile calls",
            got="none on the PATH",
            remedy="install it, or leave the option out",
        )
