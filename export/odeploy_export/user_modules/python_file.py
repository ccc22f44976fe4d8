"""A torch module from a Python file: `--from module path.py:Class`.

The file is imported, so its code runs with the user's permissions, as requested. Weights are only data:
safetensors, or a state dict that torch reads without unpickling anything else.
"""

import hashlib
import importlib.util
import sys
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from odeploy_export.user_modules.checkpoint import load_weights
from odeploy_runtime.errors import ContractError, MissingError, UsageError
from odeploy_runtime.regular_file import TEXT_BYTES, read_regular


def load_module(place: str, weights: Path | None) -> tuple[nn.Module, dict[str, Any]]:
    """Import `path.py:name`, call it, and load its weights.

    Args:
        place: file and name of a class or function that returns a module when called without arguments.
        weights: checkpoint by torch.save, perhaps FILE:KEY, or `.safetensors`.

    Returns:
        The module, and provenance without paths: hashes of both files.

    Raises:
        UsageError: place has another form.
        MissingError: no such file or name.
        ContractError: the file or the call raises, or does not return a module.
        FormatError: unreadable weights.
    """
    file, _, name = place.rpartition(":")
    if not file or not name.isidentifier():
        raise UsageError(
            where="--from module",
            expected="path.py:Class, or path.py:function",
            got=place,
            remedy="name the class or function behind a colon",
        )
    path = Path(file)
    if not path.is_file():
        raise _missing(file, "a Python file", "no such file", "give its path before the colon")
    content = read_regular(path, TEXT_BYTES)
    make = getattr(_imported(path), name, None)
    if not callable(make):
        raise _missing(file, f"a class or function {name}", "none", "name one that the file defines")
    module = _attempt(make, path, f"{name}() without arguments to return a module")
    if not isinstance(module, nn.Module):
        raise ContractError(
            where=place,
            expected="a torch.nn.Module",
            got=type(module).__name__,
            remedy="name a class of modules, or a function that returns one",
        )
    provenance = {"source_hash": hashlib.sha256(content).hexdigest()}
    if weights is not None:
        provenance |= load_weights(module, weights, place)
    return module, provenance


def _imported(path: Path) -> ModuleType:
    """Import a file as a script: with its folder on the path.

    It gets a name of its own.
    """
    name = f"_policy_{path.stem}"  # dataclasses and torch look modules up by name; it must not be one of ours
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise _missing(str(path), "a Python file", f"'{path.suffix}'", "give a file that ends in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    sys.path.insert(0, str(path.resolve().parent))
    try:
        _attempt(partial(spec.loader.exec_module, module), path, "a file that Python imports")
    finally:
        sys.path.pop(0)
    return module


def _attempt(call: Callable[[], Any], path: Path, expected: str) -> Any:
    """Call the user's code; an error becomes one line with its place in the file."""
    try:
        return call()
    except Exception as error:  # noqa: BLE001 - it may raise anything
        frames, here = traceback.extract_tb(error.__traceback__), path.resolve()
        inside = [frame.lineno for frame in frames if Path(frame.filename).resolve() == here]
        raise ContractError(
            where=f"{path}, line {inside[-1]}" if inside else str(path),
            expected=expected,
            got=f"{type(error).__name__}: {error}"[:200],
            remedy="fix the file, or name a function in it that builds the module",
        ) from None


def _missing(where: str, expected: str, got: str, remedy: str) -> MissingError:
    return MissingError(where=where, expected=expected, got=got, remedy=remedy)
