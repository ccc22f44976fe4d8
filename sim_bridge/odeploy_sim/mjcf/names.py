"""Names of a model in a task file: found, or refused with the nearest one."""

import difflib
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Any

from odeploy_runtime.errors import FormatError, MissingError

_MOST_LISTED = 12


def require_known(name: str, known: Iterable[str], kind: str, where: str) -> str:
    """Return a name that is known.

    Raises:
        MissingError: it is not; the message offers the nearest one.
    """
    names = [n for n in known if n]
    if name in names:
        return name
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5) or [", ".join(names[:_MOST_LISTED]) or "none"]
    raise MissingError(
        where=where, expected=f"a known {kind}: {near[0]}", got=name, remedy=f"correct the name of the {kind}"
    )


def matching(patterns: Sequence[str], names: Sequence[str], where: str) -> list[str]:
    """Return the names that match, in the order of the patterns.

    Without any pattern, return all.

    Raises:
        MissingError: a pattern matches none.
    """
    found: dict[str, None] = {}
    for pattern in patterns or ("*",):
        matched = [name for name in names if fnmatchcase(name, pattern)]
        if not matched:
            require_known(pattern, names, "joint", where)
        found |= dict.fromkeys(matched)
    return list(found)


def per_joint(value: Any, names: Sequence[str], where: str) -> tuple[float, ...]:
    """Return a number for each joint, from one number, a list, or a table of patterns.

    Raises:
        FormatError: not such numbers, or none for a joint.
        MissingError: a pattern of the table matches no joint.
    """
    numbers: list[Any]
    if isinstance(value, dict):
        for pattern in value:
            matching((pattern,), names, where)
        numbers = [next((v for p, v in value.items() if fnmatchcase(name, p)), None) for name in names]
    else:
        numbers = list(value) if isinstance(value, list | tuple) else [value] * len(names)
    if len(numbers) != len(names):
        raise FormatError(
            where=where,
            expected=f"{len(names)} numbers, one for each joint",
            got=str(len(numbers)),
            remedy="give one number, or a table of joint names",
        )
    for name, number in zip(names, numbers, strict=True):
        if isinstance(number, bool) or not isinstance(number, int | float):
            raise FormatError(
                where=where,
                expected=f"a number for {name}",
                got="none" if number is None else repr(number)[:40],
                remedy='add it, or a pattern for all others: "*"',
            )
    return tuple(map(float, numbers))
