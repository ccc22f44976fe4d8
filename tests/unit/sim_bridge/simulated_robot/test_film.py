"""Films: frames of what was really driven, made afterwards from the trace."""

from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
import pytest
from numpy.typing import NDArray

from odeploy_runtime.errors import ContractError, MissingError, RelayedError, UsageError
from odeploy_runtime.trace.format import APPLIED, ENDED, GOES_ON, SKIPPED, STAMPS, new_header
from odeploy_runtime.trace.reader import read_trace
from odeploy_runtime.trace.writer import TraceWriter
from odeploy_runtime.transport import messages as wire
from odeploy_sim.catalogue import get
from odeploy_sim.cli.film import main
from odeploy_sim.simulated_robot import film, renderer
from odeploy_sim.tasks.env import TaskEnv, episode_seed
from tests.integration.programs import odeploy

TICKS = 12


def recorded(path: Path, name: str, skip: tuple[int, ...] = (), bend: float = 0.0) -> Path:
    """A trace of two episodes under a fixed wobble; `bend` is added to what it says of the last observation."""
    task = get(name)
    header = new_header(
        task=name,
        scored_by=task.scored_by,
        mode="realtime",
        rate_hz=task.rate_hz,
        task_rate_hz=task.rate_hz,
        deadline_ns=0,
        seed=3,
        policy="wobble",
        fingerprint="f" * 64,
        observation=task.observation,
        action=task.action,
        obtained={},
    )
    writer, env = TraceWriter(path, header, 100), TaskEnv(task)
    for episode in range(2):
        observation = env.reset(episode_seed(3, episode))
        for tick in range(TICKS):
            if tick in skip:
                writer.append(episode, tick, SKIPPED, (1,) * len(STAMPS))
                continue
            action = np.full(len(task.action), np.sin(tick), np.float32)
            last = tick == TICKS - 1
            said = observation + np.float32(bend if last else 0)
            values = wire.to_bytes(said) + wire.to_bytes(action)
            end = ENDED if last else GOES_ON
            writer.append(episode, tick, APPLIED, (1,) * len(STAMPS), end=end, values=values)
            observation = env.step(action).observation
    writer.close()
    env.close()
    return path


def pictures(path: Path, name: str = "grid-world", **options: int) -> list[NDArray[np.uint8]]:
    env = TaskEnv(get(name), render_mode="rgb_array")
    made = list(renderer.frames(read_trace(path), env, **({"episodes": 9} | options)))
    env.close()
    return made


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


def test_skipped_ticks_did_not_step_and_are_not_filmed(tmp_path: Path) -> None:
    assert len(pictures(recorded(tmp_path / "t", "grid-world", skip=(3, 4)))) == 2 * (TICKS - 2 + 1)


def test_a_simulation_that_goes_another_way_than_the_trace_is_not_passed_off_as_it(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match=f"episode 0, tick {TICKS - 1}: expected the observation of the trace"):
        pictures(recorded(tmp_path / "t", "grid-world", bend=1e-3))


def test_the_film_has_the_robots_own_time_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = recorded(tmp_path / "t", "grid-world")
    main([str(path), "--out", str(tmp_path / "run.mp4"), "--episodes", "1"])
    frames, lasts_s = imageio_ffmpeg.count_frames_and_secs(str(tmp_path / "run.mp4"))
    assert frames == TICKS + 1
    assert lasts_s == pytest.approx((TICKS + 1) / get("grid-world").rate_hz, rel=0.01)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run.mp4", "t"]


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


def test_a_trace_without_a_step_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    path = recorded(tmp_path / "t", "grid-world", skip=tuple(range(TICKS)))
    with pytest.raises(RelayedError, match="trace of grid-world: expected a tick that was stepped, got none"):
        main([str(path), "--out", str(tmp_path / "run.mp4")])
    assert not (tmp_path / "run.mp4").exists()


def test_a_strip_is_written_at_half_its_size(tmp_path: Path) -> None:
    path = recorded(tmp_path / "t", "grid-world")
    main([str(path), "--out", str(tmp_path / "run.png"), "--episodes", "1"])
    height, width, _ = pictures(path)[0].shape
    frames = imageio_ffmpeg.read_frames(str(tmp_path / "run.png"))
    assert next(frames)["source_size"] == (6 * width // 2, height // 2)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run.png", "t"]


@pytest.mark.thorough
def test_a_mujoco_robot_is_filmed_or_one_line_says_what_to_install(tmp_path: Path) -> None:
    path, out = recorded(tmp_path / "t", "halfcheetah"), tmp_path / "run.mp4"
    made = odeploy("film", str(path), "--out", str(out))
    if made.returncode == 0:
        assert out.stat().st_size > 1000
    else:  # a machine without EGL and OSMesa
        assert "apt-get install libosmesa6" in made.stderr
        assert not out.exists()


def test_rendering_does_not_change_what_happens_next() -> None:
    """The hand moves a marker and recomputes contacts to be drawn."""
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


def test_no_opengl_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUJOCO_GL", "glfw")
    monkeypatch.delenv("DISPLAY", raising=False)
    path = recorded(tmp_path / "t", "halfcheetah")
    with pytest.raises(MissingError, match="expected OpenGL without a display, got none through glfw"):
        film.film(path, tmp_path / "run.mp4")
    assert not (tmp_path / "run.mp4").exists()


@pytest.mark.parametrize("name", ["run.gif", "run", "nowhere/run.mp4"])
def test_a_name_that_cannot_be_written_is_refused_early(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match=r"ends in \.mp4 or \.png"):
        film.require_writable(tmp_path / name)


def test_where_the_simulation_is_not_installed_the_missing_package_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError) as raised:
        film.film(tmp_path / "t", tmp_path / "run.mp4")
    assert raised.value.name == "mujoco"
