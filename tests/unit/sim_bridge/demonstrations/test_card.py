"""A dataset's card: errors name the damaged field, and versions are the installed ones."""

import platform
from pathlib import Path

import mujoco
import numpy as np
import pytest

from odeploy_runtime.errors import FormatError
from odeploy_sim.demonstrations.card import read_card, versions


def test_a_damaged_card_is_refused_with_the_field(tmp_path: Path) -> None:
    (tmp_path / "card.json").write_text('{"task": 3}')
    with pytest.raises(FormatError, match=r"card.json at \$.task: expected str, got int"):
        read_card(tmp_path)


def test_versions_are_the_installed_ones() -> None:
    found = versions()
    in_use = platform.python_version(), np.__version__, mujoco.__version__
    assert (found["python"], found["numpy"], found["mujoco"]) == in_use
    assert "torch" not in found
