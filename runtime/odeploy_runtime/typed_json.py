"""Strict conversion of frozen dataclasses to JSON and back.

Errors name the path, as in `$.noise.mode`.

Used for the manifest, the trace header and training configs. Infinite limits are written as null, since JSON has
no infinity; floats keep full precision. Unknown fields are ignored, since a newer minor version may add some;
missing ones take their default or are an error. A field with `metadata=LEFT_OUT` is omitted if None, so files
without it look as they did before the field existed.
"""

import dataclasses
import json
import math
import sys
import types
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from odeploy_runtime.errors import FormatError

T = TypeVar("T")

LEFT_OUT = {"left out": True}


def to_json(value: Any) -> str:
    """Return a dataclass as JSON: keys in field order, one line per top-level field."""
    fields: dict[str, Any] = encode(value)
    lines = (f"{json.dumps(name)}: {json.dumps(field, allow_nan=False)}" for name, field in fields.items())
    return "{" + ",\n ".join(lines) + "}\n"


def encode(value: Any) -> Any:
    """Convert dataclasses and tuples to what `json` writes.

    ±inf becomes null, NaN is rejected by `json`.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = ((f, getattr(value, f.name)) for f in dataclasses.fields(value))
        return {f.name: encode(v) for f, v in fields if not (v is None and f.metadata == LEFT_OUT)}
    if isinstance(value, list | tuple):
        return [encode(v) for v in value]
    if isinstance(value, dict):
        return {k: encode(v) for k, v in value.items()}
    if isinstance(value, float) and math.isinf(value):
        return None
    return value


def from_json(cls: type[T], text: str | bytes, where: str) -> T:
    """Parse `text` into the dataclass `cls`.

    Raises:
        FormatError: not JSON, or a field of the wrong type; the message names its path.
    """
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FormatError(
            where=where,
            expected="JSON",
            got=f"text that does not parse ({error})",
            remedy="write the file again",
        ) from None
    return decode(cls, data, where)


def decode(cls: type[T], data: Any, where: str) -> T:
    """Convert parsed JSON to the dataclass `cls`; see `from_json`."""
    decoded: T = _decode(cls, data, "$", where)
    return decoded


def _decode(kind: Any, data: Any, path: str, where: str) -> Any:
    origin, args = get_origin(kind), get_args(kind)
    if kind is Any:
        return data
    if dataclasses.is_dataclass(kind):
        return _decode_dataclass(kind, data, path, where)
    if origin in (Union, types.UnionType):
        if data is None and type(None) in args:
            return None
        return _decode(next(a for a in args if a is not type(None)), data, path, where)
    if origin is Literal:
        if data not in args:
            raise _mismatch("one of " + ", ".join(map(repr, args)), repr(data), path, where)
        return data
    if origin is tuple:
        if not isinstance(data, list):
            raise _mismatch("a list", _name(data), path, where)
        variable = len(args) == 2 and args[1] is Ellipsis
        if not variable and len(data) != len(args):
            raise _mismatch(f"{len(args)} entries", f"{len(data)}", path, where)
        kinds = [args[0]] * len(data) if variable else list(args)
        return tuple(
            _decode(k, d, f"{path}[{i}]", where) for i, (k, d) in enumerate(zip(kinds, data, strict=True))
        )
    if origin is dict:
        if not isinstance(data, dict):
            raise _mismatch("an object", _name(data), path, where)
        return {k: _decode(args[1], v, f"{path}.{k}", where) for k, v in data.items()}
    if kind is float and isinstance(data, int | float) and not isinstance(data, bool):
        if not abs(data) <= sys.float_info.max:  # Python accepts NaN, Infinity and 1e400, which are not JSON
            raise _mismatch("a finite number", "one that is not", path, where)
        return float(data)
    if (kind is int and isinstance(data, bool)) or not isinstance(data, kind):
        raise _mismatch(kind.__name__, _name(data), path, where)
    return data


def _decode_dataclass(cls: Any, data: Any, path: str, where: str) -> Any:
    if not isinstance(data, dict):
        raise _mismatch("an object", _name(data), path, where)
    hints, values = get_type_hints(cls), {}
    for field in dataclasses.fields(cls):
        here = f"{path}.{field.name}"
        if field.name in data:
            values[field.name] = _decode(hints[field.name], data[field.name], here, where)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise _mismatch("a value", "nothing", here, where)
    try:
        return cls(**values)
    except ValueError as error:
        raise _mismatch("a consistent object", str(error), path, where) from None


def _mismatch(expected: str, got: str, path: str, where: str) -> FormatError:
    return FormatError(where=f"{where} at {path}", expected=expected, got=got, remedy="write the file again")


def _name(value: Any) -> str:
    return "null" if value is None else type(value).__name__
