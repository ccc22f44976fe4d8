"""One tiny set of demonstrations for all training tests."""

from pathlib import Path

import pytest

from sim_bridge import collect


@pytest.fixture(scope="session")
def demos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three noisy episodes of the maze's expert."""
    path = tmp_path_factory.mktemp("demos") / "maze-v0"
    collect.main(["maze-medium", "--episodes", "3", "--quality", "noisy:0.5", "--out", str(path)])
    return path
