"""Small demonstrations and off-policy runs, made once for all training tests, with one torch thread.

On a busy machine a second thread only spins.
"""

from pathlib import Path

import pytest
import torch

from odeploy_sim.cli import collect
from odeploy_train.diffusion_rl import dipo
from odeploy_train.off_policy import fmer_run, sac
from odeploy_train.on_policy import gaussian_ppo


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Set the number of threads that every verb has by default."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def demos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with three noisy episodes of the maze's expert."""
    path = tmp_path_factory.mktemp("demos") / "maze-v0"
    collect.main(["maze-medium", "--episodes", "3", "--quality", "noisy:0.5", "--out", str(path)])
    return path


@pytest.fixture(scope="session")
def multigoal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of short runs on multigoal-2d: two seeds of sac, fmer at 24 and 48 steps, dipo, ppo."""
    folder = tmp_path_factory.mktemp("multigoal")
    tiny = ("--task", "multigoal-2d", "--envs", "2", "--workers", "0", "--score-episodes", "0", "--batch", "8")
    critics = "--start-steps", "16", "--critic-widths", "8"
    flow = "--width", "8", "--solver-steps", "3", "--candidates", "4"
    diffusion = "--width", "8", "--depth", "1", "--diffusion-steps", "3", "--action-steps", "2"
    for name, main, *options in (
        ("sac", sac.main, "--steps", "24", *critics, "--widths", "8"),
        ("sac-1", sac.main, "--steps", "24", *critics, "--widths", "8", "--seed", "1"),
        ("fmer-24", fmer_run.main, "--steps", "24", *critics, *flow),
        ("fmer-48", fmer_run.main, "--steps", "48", *critics, *flow),
        ("dipo", dipo.main, "--steps", "24", *critics, *diffusion),
        ("ppo", gaussian_ppo.main, "--steps", "16", "--ticks", "8", "--epochs", "1", "--score-every", "16"),
    ):
        main([*tiny, "--out", str(folder / name), *options])
    return folder
