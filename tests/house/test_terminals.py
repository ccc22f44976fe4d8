"""Names from policy files and other machines are printed by the terminal that they cannot control."""

import ast
from pathlib import Path

from tests.house.layout import ROOT, modules

FLOORS = "runtime", "sim_bridge", "export"
"""Floors whose commands print names from policy files, traces and messages."""
TERMINAL = ROOT / "runtime/odeploy_runtime/reports/terminal.py"


def test_no_command_makes_a_plain_console_or_a_label_with_markup() -> None:
    made = [
        f"{file.relative_to(ROOT)}:{call.lineno}"
        for file in modules()
        if file != TERMINAL and file.relative_to(ROOT).parts[0] in FLOORS
        for call in plain(file)
    ]
    assert made == []


def plain(file: Path) -> list[ast.Call]:
    """Return the calls that make a part of rich with markup."""
    return [
        node
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in ("Console", "TextColumn")
    ]
