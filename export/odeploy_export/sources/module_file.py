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

import torch
from torch import Tensor, nn

from odeploy_runtime.errors import ContractError, FormatError, MissingError, UsageError, first_line
from odeploy_runtime.regular_file import DATA_BYTES, TEXT_BYTES, read_regular, require_regular


def load_module(place: str, weights: Path | None) -> tuple[nn.Module, dict[str, Any]]:
    """Import `path.py:name`, call it, and load its weights.

    Args:
        place: file and name of a class or function that returns a module when called without arguments.
        weights: state dict by torch.save, or `.safetensors`.

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
        _load_weights(module, weights, place)
        provenance["weights_hash"] = hashlib.sha256(read_regular(weights, DATA_BYTES)).hexdigest()
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


def _load_weights(module: nn.Module, path: Path, place: str) -> None:
    state = _state_dict(path)
    wanted = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    given = {name: tuple(tensor.shape) for name, tensor in state.items()}
    strange = next((n for n in (*wanted, *given) if wanted.get(n) != given.get(n)), None)
    if strange is not None:
        raise ContractError(
            where=f"{path}, weight {strange}",
            expected=f"shape {wanted[strange]} as {place} has"
            if strange in wanted
            else f"no such weight in {place}",
            got=f"shape {given[strange]}" if strange in given else "none",
            remedy="give the weights of this module",
        )
    module.load_state_dict(state)


def _state_dict(path: Path) -> dict[str, Tensor]:
    try:
        require_regular(path, DATA_BYTES)
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise _missing(
            str(path), "weights", reason, "give the file that torch.save or safetensors wrote"
        ) from None
    except ModuleNotFoundError:
        raise
    except Exception as error:  # noqa: BLE001 - a damaged zip or pickle raises almost anything
        raise _no_weights(path, first_line(error)) from None
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise _no_weights(path, f"a {type(state).__name__} of other things")
    return state


def _no_weights(path: Path, got: str) -> FormatError:
    return FormatError(
        where=str(path),
        expected="a state dict: only tensors, by name",
        got=got,
        remedy="save it with torch.save(module.state_dict(), FILE), or as safetensors",
    )


def _missing(where: str, expected: str, got: str, remedy: str) -> MissingError:
    return MissingError(where=where, expected=expected, got=got, remedy=remedy)
