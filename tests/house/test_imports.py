"""No circle of imports, neither between modules nor between rooms, whatever the contracts of import-linter say."""

from collections.abc import Callable, Iterable, Mapping

import grimp
import pytest

from tests.house.layout import PACKAGES

Imports = Mapping[str, set[str]]


@pytest.fixture(scope="module")
def imports() -> Imports:
    """Module -> modules that it imports directly, also those for type checking alone."""
    graph = grimp.build_graph(*PACKAGES, cache_dir=None)
    return {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}


def test_modules_import_in_one_direction(imports: Imports) -> None:
    assert circle(imports) == []


def test_rooms_import_in_one_direction(imports: Imports) -> None:
    assert circle(joined(imports, room_of)) == []


def test_floors_import_in_one_direction(imports: Imports) -> None:
    assert circle(joined(imports, lambda module: module.split(".")[0])) == []


def test_a_circle_is_found() -> None:
    assert circle({"a": {"b"}, "b": {"c", "d"}, "c": set(), "d": {"b"}}) == ["b", "d", "b"]
    assert circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []
    assert joined({"x.a.f": {"x.a.g", "x.b.h"}, "x.b.h": {"x.a.g"}}, room_of) == {"x.a": {"x.b"}, "x.b": {"x.a"}}


def room_of(module: str) -> str:
    """Return the room of a module; a module directly in a floor is its own."""
    return ".".join(module.split(".")[:2])


def joined(imports: Imports, group: Callable[[str], str]) -> dict[str, set[str]]:
    """Return the imports between groups of modules."""
    groups: dict[str, set[str]] = {group(module): set() for module in imports}
    for module, imported in imports.items():
        groups[group(module)] |= {group(other) for other in imported} - {group(module)}
    return groups


def circle(imports: Imports) -> list[str]:
    """Return one circle, its first module also last; empty if there is none."""
    done: set[str] = set()

    def visit(module: str, path: list[str]) -> list[str]:
        if module in path:
            return [*path[path.index(module) :], module]
        if module in done:
            return []
        found = first(visit(other, [*path, module]) for other in sorted(imports.get(module, ())))
        done.add(module)
        return found

    return first(visit(module, []) for module in sorted(imports))


def first(circles: Iterable[list[str]]) -> list[str]:
    """Return the first circle that is not empty."""
    return next((found for found in circles if found), [])
