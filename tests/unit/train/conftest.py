"""One tiny set of demonstrations for all training tests, and one torch thread: two spin on a busy machine."""

from pathlib import Path

import pytest
import torch

from sim_bridge import collect


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """As every verb has by default."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def demos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three noisy episodes of the maze's expert."""
    path = tmp_path_factory.mktemp("demos") / "maze-v0"
    collect.main(["maze-medium", "--episodes", "3", "--quality", "noisy:0.5", "--out", str(path)])
    return path
