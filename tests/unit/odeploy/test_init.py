"""The public Python API: every name exists, and each is imported at its first use."""

import importlib
import subprocess
import sys

import pytest

import odeploy

_TOO_EARLY = "import sys, odeploy; sys.exit(bool({'torch', 'numpy', 'odeploy_export'} & set(sys.modules)))"


@pytest.mark.parametrize("name", odeploy.__all__)
def test_every_public_name_is_what_its_module_defines(name: str) -> None:
    public = getattr(odeploy, name)
    assert getattr(importlib.import_module(public.__module__), name) is public
    assert name in dir(odeploy)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'odeploy' has no attribute 'export_modul'"):
        odeploy.export_modul  # noqa: B018


def test_importing_odeploy_imports_no_heavy_package() -> None:
    assert subprocess.run([sys.executable, "-c", _TOO_EARLY], check=False).returncode == 0
