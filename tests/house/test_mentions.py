"""Files and modules that a comment, a docstring, a message or a page mentions exist."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house.layout import FLOORS, PAGES, ROOT, modules, texts

HISTORY = ROOT / "CHANGELOG.md", ROOT / "docs/decisions.md"
"""Pages about what was; they may name what is gone."""
READ = [
    file
    for file in [*modules(), *ROOT.glob("tests/**/*.py"), *ROOT.glob("docs/**/*.py"), *PAGES]
    if file not in HISTORY and file != Path(__file__)
]
FOLDERS = [
    ROOT / name
    for name in (
        "deploy",
        "docs",
        "examples",
        "export",
        "odeploy",
        "results",
        "runtime",
        "sim_bridge",
        "tests",
        "train",
    )
]
WRITTEN = "runs/"
"""What commands write."""
_FILE = re.compile(r"(?<![\w/:.~<{*-])((?:\.\./)*(?:[\w.-]+/)+[\w-]+\.(?:c|csv|md|py|toml|xml))\b(?![\w*(/])")
_MODULE = re.compile(rf"(?<![\w./])((?:{'|'.join(FLOORS)})(?:\.\w+)+)")


@pytest.fixture(scope="module")
def known() -> set[str]:
    """Every way to name a file of the checkout: its path from the root, or from any folder on the way."""
    files = [file.relative_to(ROOT).parts for folder in FOLDERS for file in folder.rglob("*") if file.is_file()]
    return {"/".join(parts[i:]) for parts in files for i in range(len(parts))}


def test_mentioned_files_exist(known: set[str]) -> None:
    assert [
        f"{file.relative_to(ROOT)}:{line}: {name}"
        for file in READ
        for line, name in mentions(file, _FILE)
        if name not in known and not name.startswith(WRITTEN) and not (file.parent / name).exists()
    ] == []


def test_mentioned_modules_exist() -> None:
    assert [
        f"{file.relative_to(ROOT)}:{line}: {name}"
        for file in READ
        for line, name in mentions(file, _MODULE)
        if not is_in_a_package(name)
    ] == []


def test_modules_named_in_strings_exist() -> None:
    """Programs are started and environments are built by name, which no type checker sees."""
    named = [
        (file, node.value)
        for file in modules()
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and _MODULE.match(node.value)
    ]
    assert len(named) > 20
    assert [
        f"{file}: {name}" for file, name in named if not is_in_a_package(re.split(r"[:\s]", name)[0].strip("."))
    ] == []


def mentions(file: Path, pattern: re.Pattern[str]) -> Iterator[tuple[int, str]]:
    """Yield line and name of each match in a file's texts."""
    for line, text in texts(file):
        for match in pattern.finditer(text):
            yield line, match[1]


def is_in_a_package(name: str) -> bool:
    """Return whether a dotted name is a package, a module, or a word in that module's source."""
    first, *rest = name.split(".")
    place = FLOORS[first]
    while rest and (place / rest[0]).is_dir():
        place /= rest.pop(0)
    module = place / f"{rest.pop(0)}.py" if rest and (place / f"{rest[0]}.py").is_file() else place / "__init__.py"
    return not rest or re.search(rf"\b{rest[0]}\b", module.read_text()) is not None


def test_what_is_gone_is_noticed(known: set[str], tmp_path: Path) -> None:
    file = tmp_path / "module.py"
    file.write_text('"""See safety/states.py, docs/gone.md, your.py and odeploy_runtime.safety.old.Guard."""\n')
    assert [name for _, name in mentions(file, _FILE) if name not in known] == ["docs/gone.md"]
    assert [name for _, name in mentions(file, _MODULE)] == ["odeploy_runtime.safety.old.Guard"]
    assert not is_in_a_package("odeploy_runtime.safety.old.Guard")
    assert is_in_a_package("odeploy_runtime.safety.guard.Guard.tick")
    assert is_in_a_package("odeploy_sim.catalogue.get")
