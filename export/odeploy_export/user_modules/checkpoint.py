"""Weights of a module as they lie on disk: a state dict, alone or in a checkpoint.

Checkpoints hold more than the network: an optimiser, a critic, counters. Wrappers put prefixes before the names.
Both are undone if only one way fits the module; otherwise the message names what there is.
"""

import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from odeploy_runtime.errors import ContractError, FormatError, MissingError, first_line
from odeploy_runtime.regular_file import DATA_BYTES, read_regular, require_regular

log = logging.getLogger(__name__)

_WRAPPERS = ("_orig_mod.", "module.")  # of torch.compile and of DataParallel, at any place of a name
_MOST_LISTED = 6
State = Mapping[str, Tensor]


def load_weights(module: nn.Module, place: Path, where: str) -> dict[str, Any]:
    """Load the weights of a file into a module.

    Args:
        module: the module.
        place: the file, perhaps followed by `:KEY`, dots between nested keys.
        where: the module, for messages.

    Returns:
        Provenance: the file's hash, and key and prefix if there are any.

    Raises:
        MissingError: no such file.
        FormatError: not a checkpoint, or no such key.
        ContractError: weights of another module, or several that fit.
    """
    path, key = _split(place)
    content = _read(path)
    tables = dict(_state_dicts(content))
    if key is not None:
        if key not in tables:
            raise _no_weights(path, f"no state dict {key}; there are {_listed(tables) or 'none'}")
        tables = {key: tables[key]}
    if not tables:
        raise _no_weights(path, f"a {type(content).__name__} of other things")
    wanted = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    fitting = [
        (name, prefix, state)
        for name, table in tables.items()
        for prefix, state in _without_prefix(_unwrapped(table), wanted)
    ]
    if len(fitting) != 1:
        raise _other_weights(path, where, wanted, tables, [f"{n}:{p}" for n, p, _ in fitting])
    ((name, prefix, state),) = fitting
    module.load_state_dict({n: state[n] for n in wanted})
    found = ({"weights_key": name} if name else {}) | ({"weights_prefix": prefix} if prefix else {})
    if found:
        log.info("weights: %s", ", ".join(f"{what.removeprefix('weights_')} {n}" for what, n in found.items()))
    return {"weights_hash": hashlib.sha256(read_regular(path, DATA_BYTES)).hexdigest()} | found


def _split(place: Path) -> tuple[Path, str | None]:
    if place.exists() or ":" not in place.name:
        return place, None
    file, _, key = str(place).rpartition(":")
    return Path(file), key


def _read(path: Path) -> Any:
    try:
        require_regular(path, DATA_BYTES)
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise MissingError(
            where=str(path),
            expected="weights",
            got=error.strerror or type(error).__name__,
            remedy="give the file that torch.save or safetensors wrote",
        ) from None
    except ModuleNotFoundError:
        raise
    except Exception as error:  # noqa: BLE001 - a damaged zip or pickle raises almost anything
        raise _no_weights(path, first_line(error)) from None


def _state_dicts(content: Any, key: str = "") -> list[tuple[str, State]]:
    """Return the tables of tensors in a checkpoint, by their keys."""
    if not isinstance(content, Mapping):
        return []
    if content and all(isinstance(value, Tensor) for value in content.values()):
        return [(key, content)]
    return [
        found
        for name, value in content.items()
        if isinstance(name, str)
        for found in _state_dicts(value, f"{key}.{name}" if key else name)
    ]


def _unwrapped(table: State) -> dict[str, Tensor]:
    renamed = {}
    for name, tensor in table.items():
        for wrapper in _WRAPPERS:
            name = name.replace(wrapper, "")
        renamed[name] = tensor
    return renamed if len(renamed) == len(table) else dict(table)


def _without_prefix(table: State, wanted: Mapping[str, tuple[int, ...]]) -> list[tuple[str, dict[str, Tensor]]]:
    """Return the prefixes behind which a table has exactly the wanted names.

    A table whose names fit without a prefix must have no others.
    """
    first = next(iter(wanted), "")
    prefixes = {name.removesuffix(first) for name in table if name.endswith(first)} if first else {""}
    fitting = []
    for prefix in sorted(prefixes):
        state = {name.removeprefix(prefix): tensor for name, tensor in table.items() if name.startswith(prefix)}
        if {name: tuple(tensor.shape) for name, tensor in state.items()} == dict(wanted):
            fitting.append((prefix, state))
    return fitting


def _other_weights(
    path: Path, where: str, wanted: Mapping[str, tuple[int, ...]], tables: Mapping[str, State], fitting: list[str]
) -> ContractError:
    if fitting:
        return ContractError(
            where=str(path),
            expected=f"one state dict that fits {where}",
            got=f"{len(fitting)}: {', '.join(fitting)}",
            remedy="name one with --weights FILE:KEY",
        )
    if len(tables) > 1:
        return ContractError(
            where=str(path),
            expected=f"a state dict that fits {where}",
            got=f"others: {_listed(tables)}",
            remedy="name the module of one of them, and its key with --weights FILE:KEY",
        )
    given = {name: tuple(tensor.shape) for name, tensor in next(iter(tables.values())).items()}
    strange = next(n for n in (*wanted, *given) if wanted.get(n) != given.get(n))
    return ContractError(
        where=f"{path}, weight {strange}",
        expected=f"shape {wanted[strange]} as {where} has" if strange in wanted else f"no such weight in {where}",
        got=f"shape {given[strange]}" if strange in given else "none",
        remedy="give the weights of this module",
    )


def _listed(tables: Mapping[str, State]) -> str:
    names = [name or "the top" for name in tables]
    return ", ".join(names[:_MOST_LISTED]) + (", and more" if len(names) > _MOST_LISTED else "")


def _no_weights(path: Path, got: str) -> FormatError:
    return FormatError(
        where=str(path),
        expected="a state dict: only tensors, by name",
        got=got,
        remedy="save it with torch.save(module.state_dict(), FILE), or as safetensors; or name its key with "
        "--weights FILE:KEY",
    )
