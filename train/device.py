"""Where a training's minibatches are learnt from: a GPU where there is one, by the same command as without."""

from typing import Literal

import torch

from runtime.errors import MissingError

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
