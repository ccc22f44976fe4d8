"""The public Python API: its names, where they are defined, and that each is imported at its first use."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import odeploy

_TOO_EARLY = (
    "import sys, odeploy; sys.exit(bool({'torch', 'numpy', 'mujoco', 'gymnasium', 'odeploy_runtime'} & "
    "set(sys.modules)))"
)
PUBLIC = [
    "Access",
    "Actuation",
    "LoopOptions",
    "Manifest",
    "OdeployError",
    "Outcome",
    "ParityOptions",
    "Plant",
    "PolicyFile",
    "PolicyPlayer",
    "ReadingOptions",
    "Recipe",
    "RemotePlayer",
    "RobotKeys",
    "SamplerOptions",
    "Scoring",
    "ServerOptions",
    "Signal",
    "Summary",
    "Task",
    "Trace",
    "collect",
    "connect",
    "export_module",
    "export_run",
    "export_sb3",
    "get_task",
    "load_policy",
    "make_env",
    "make_plant",
    "make_vector_env",
    "read_policy_file",
    "read_trace",
    "register_task",
    "run",
    "serve",
    "serving",
    "summarise",
]
"""Users' programs depend on these: removing or renaming one breaks them."""


def test_the_public_names_are_these() -> None:
    assert odeploy.__all__ == PUBLIC


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_is_what_its_module_defines(name: str) -> None:
    module, _, inside = odeploy._PLACES[name].partition(":")
    assert getattr(odeploy, name) is getattr(importlib.import_module(module), inside or name)
    assert name in dir(odeploy)


def test_type_checkers_and_programs_find_the_same_names() -> None:
    source = ast.parse(Path(odeploy.__file__).read_text())
    typed = {
        alias.asname or alias.name: f"{node.module}:{alias.name}" if alias.asname else node.module
        for block in source.body
        if isinstance(block, ast.If)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert typed == odeploy._PLACES


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'odeploy' has no attribute 'export_modul'"):
        odeploy.export_modul  # noqa: B018


def test_importing_odeploy_imports_no_heavy_package() -> None:
    assert subprocess.run([sys.executable, "-c", _TOO_EARLY], check=False).returncode == 0
