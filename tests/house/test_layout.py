"""Rooms and modules stay small, say what they are, and have their tests at the same place."""

import ast
import re
from pathlib import Path

import pytest

from tests.house.layout import FLOORS, PACKAGES, ROOT, modules, rooms

MOST_MODULES, MOST_LINES = 13, 300
SOURCES = {
    "docs": ROOT / "docs",
    "export": FLOORS["odeploy_export"],
    "odeploy": PACKAGES["odeploy"],
    "runtime": FLOORS["odeploy_runtime"],
    "sim_bridge": FLOORS["odeploy_sim"],
    "timing": ROOT / "tests/timing/against",
    "train": FLOORS["odeploy_train"],
}
"""Folder of tests/unit -> the folder that it mirrors."""
OF_A_WHOLE = {
    "docs/test_commands.py": "all pages",
    "docs/test_links.py": "all pages",
    "docs/test_python.py": "the page of the Python API",
    "runtime/test_imports.py": "all modules of the runtime",
}
"""Tests of more than one module."""


def named(path: Path) -> str:
    """The id of a parametrised test."""
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("room", [*rooms(), *PACKAGES.values()], ids=named)
def test_a_room_has_at_most_thirteen_modules(room: Path) -> None:
    names = sorted(file.stem for file in room.glob("*.py") if file.stem != "__init__")
    assert len(names) <= MOST_MODULES, names


def test_no_module_is_longer_than_three_hundred_lines() -> None:
    lengths = {named(file): len(file.read_text().splitlines()) for file in modules()}
    assert {name: lines for name, lines in lengths.items() if lines > MOST_LINES} == {}


@pytest.mark.parametrize("room", rooms(), ids=named)
def test_a_room_says_what_it_owns_and_what_it_may_import(room: Path) -> None:
    docstring = ast.get_docstring(ast.parse((room / "__init__.py").read_text())) or ""
    first, _, rest = docstring.partition("\n")
    assert 0 < len(first) <= 112
    assert re.search(r"\b(May import:|Imports)\s", rest)


@pytest.mark.parametrize("package", PACKAGES.values(), ids=named)
def test_every_package_ships_its_types(package: Path) -> None:
    assert (package / "py.typed").exists()


def test_every_unit_test_lies_where_its_module_does() -> None:
    """As `test_MODULE.py`, or as `test_MODULE_PART.py` for a part of a module with many tests."""
    tests = ROOT / "tests/unit"
    lost = []
    for test in sorted(tests.rglob("test_*.py")):
        relative = test.relative_to(tests)
        folder = SOURCES[relative.parts[0]].joinpath(*relative.parts[1:-1])
        names = [file.stem for file in folder.glob("*.py")] + [
            room.parent.name for room in folder.glob("*/__init__.py")
        ]
        name = test.stem.removeprefix("test_")
        if name in ("init", folder.name):
            name = "__init__"
        if not any(f"{name}_".startswith(f"{module}_") for module in names) and str(relative) not in OF_A_WHOLE:
            lost.append(f"{relative}: no such module in {named(folder)}")
    assert lost == []
