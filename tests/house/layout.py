"""The layout of the house: source folders, modules, rooms and texts, as the tests of its structure see them."""

import ast
import io
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
FLOORS = {
    "odeploy_export": ROOT / "export/odeploy_export",
    "odeploy_train": ROOT / "train/odeploy_train",
    "odeploy_sim": ROOT / "sim_bridge/odeploy_sim",
    "odeploy_runtime": ROOT / "runtime/odeploy_runtime",
}
"""Package -> folder, from the highest floor to the lowest."""
PACKAGES = {"odeploy": ROOT / "odeploy", **FLOORS}
PAGES = sorted(
    page for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("deploy/*"), ROOT / "Makefile"]
)


def modules() -> list[Path]:
    """Return the source files of all packages."""
    return sorted(file for folder in PACKAGES.values() for file in folder.rglob("*.py"))


def rooms() -> list[Path]:
    """Return the folders of all rooms: the packages directly below a floor."""
    return sorted(file.parent for folder in FLOORS.values() for file in folder.glob("*/__init__.py"))


def texts(file: Path) -> Iterator[tuple[int, str]]:
    """Yield line and text of comments, docstrings and strings with more than one word; for a page all of it."""
    source = file.read_text()
    if file.suffix != ".py":
        yield 1, source
        return
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            yield node.lineno, node.value
