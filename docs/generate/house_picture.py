"""The picture of the house in CONTRIBUTING.md, from pyproject.toml's contracts.

Write it again: `python -m docs.generate.house_picture`.
"""

import re
import tomllib
from itertools import zip_longest
from pathlib import Path
from typing import Any

from odeploy_runtime.atomic_file import write_whole

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "CONTRIBUTING.md"
FOLDERS = {
    "odeploy_export": "export/",
    "odeploy_train": "train/",
    "odeploy_sim": "sim_bridge/",
    "odeploy_runtime": "runtime/",
}
"""Package -> its folder in the repository, from the highest floor to the lowest."""
_BEGIN, _END = "<!-- house: begin -->\n", "<!-- house: end -->\n"
_GAP = 4


def contracts() -> list[dict[str, Any]]:
    """Return import-linter's contracts."""
    found: list[dict[str, Any]] = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"][
        "contracts"
    ]
    return found


def layers(package: str) -> list[list[str]]:
    """Return a floor's rooms from the highest layer to the lowest.

    Rooms of one layer are independent.
    """
    (rows,) = (contract["layers"] for contract in contracts() if contract.get("containers") == [package])
    return [re.split(r"\s*[|:]\s*", row) for row in rows]


def picture() -> str:
    """Return the picture as a code block: a column a floor, a rule between layers."""
    columns = [_column(package, folder) for package, folder in FOLDERS.items()]
    widths = [max(map(len, column)) for column in columns]
    rows = zip_longest(*columns, fillvalue="")
    lines = ((" " * _GAP).join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(["```", *(line.rstrip() for line in lines), "```"]) + "\n"


def page(text: str) -> str:
    """Return the page with a new picture."""
    before, rest = text.split(_BEGIN)
    _, after = rest.split(_END)
    return before + _BEGIN + picture() + _END + after


def main() -> None:
    """Write the page."""
    write_whole(PAGE, page(PAGE.read_text()).encode())


def _column(package: str, folder: str) -> list[str]:
    rooms = layers(package)
    width = max(len(room) for layer in rooms for room in [*layer, package])
    rule = "─" * width
    return [folder, package, *(line for layer in rooms for line in (rule, *layer)), rule]


if __name__ == "__main__":
    main()
