"""Frames of a run, rendered afterwards from its trace."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from odeploy_runtime.errors import ContractError
from odeploy_runtime.trace.reader import read_trace
from odeploy_sim.catalogue import get
from odeploy_sim.simulated_robot import renderer
from odeploy_sim.tasks.env import TaskEnv
from tests.unit.sim_bridge.simulated_robot.wobble import TICKS, pictures, recorded


def test_every_step_and_every_end_is_a_frame(tmp_path: Path) -> None:
    seen = pictures(recorded(tmp_path / "t", "grid-world"))
    assert len(seen) == 2 * (TICKS + 1)
    assert not np.array_equal(seen[0], seen[3])


def test_a_stride_leaves_frames_out_but_not_the_end(tmp_path: Path) -> None:
    path = recorded(tmp_path / "t", "grid-world")
    every, some = pictures(path), pictures(path, stride=5, episodes=1)
    assert len(some) == 3 + 1
    for a, b in zip(some, [every[i] for i in (0, 5, 10, TICKS)], strict=True):
        assert np.array_equal(a, b)


def test_skipped_ticks_have_no_frame(tmp_path: Path) -> None:
    assert len(pictures(recorded(tmp_path / "t", "grid-world", skip=(3, 4)))) == 2 * (TICKS - 2 + 1)


def test_a_simulation_that_differs_from_the_trace_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match=f"episode 0, tick {TICKS - 1}: expected the observation of the trace"):
        pictures(recorded(tmp_path / "t", "grid-world", bend=1e-3))


def test_a_strip_shows_each_episode_from_its_start_to_its_end(tmp_path: Path) -> None:
    path = recorded(tmp_path / "t", "grid-world", skip=(3, 4))
    every = pictures(path)
    env = TaskEnv(get("grid-world"), render_mode="rgb_array")
    shown = renderer.strip(read_trace(path), env, 9)
    env.close()
    height, width, _ = every[0].shape
    assert shown.shape == (2 * height, 6 * width, 3)
    for column, tick in enumerate((0, 2, 4, 6, 8, 10)):
        for row, start in enumerate((0, TICKS - 2 + 1)):
            piece = shown[row * height : (row + 1) * height, column * width : (column + 1) * width]
            assert np.array_equal(piece, every[start + tick])


def test_rendering_does_not_change_later_observations() -> None:
    """To render, the hand's environment moves a marker and recomputes contacts."""
    task = get("hand-rotate")
    plain, drawn = TaskEnv(task), TaskEnv(task, render_mode="rgb_array")
    inside: Any = drawn.env.unwrapped
    inside.render = lambda: inside._render_callback() or np.zeros((2, 2, 3))
    action = np.full(20, 0.3, np.float32)
    plain.reset(1)
    drawn.reset(1)
    for _ in range(4):
        drawn.render()
        assert np.array_equal(plain.step(action).observation, drawn.step(action).observation)
    plain.close()
