"""`odeploy film` writes a complete film or nothing."""

from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image, ImageSequence

from odeploy_runtime.errors import RelayedError
from odeploy_sim.catalogue import get
from odeploy_sim.cli.film import main
from odeploy_sim.simulated_robot import renderer
from tests.integration.programs import odeploy
from tests.unit.sim_bridge.simulated_robot.wobble import TICKS, pictures, recorded


def test_the_film_runs_in_the_robots_time_and_leaves_no_other_file(tmp_path: Path) -> None:
    path = recorded(tmp_path / "t", "grid-world")
    main([str(path), "--out", str(tmp_path / "run.mp4"), "--episodes", "1"])
    frames, lasts_s = imageio_ffmpeg.count_frames_and_secs(str(tmp_path / "run.mp4"))
    assert frames == TICKS + 1
    assert lasts_s == pytest.approx((TICKS + 1) / get("grid-world").rate_hz, rel=0.01)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run.mp4", "t"]


@pytest.mark.parametrize(("ending", "begins"), [(".gif", b"GIF89a"), (".webp", b"RIFF")])
def test_moving_pictures_move_and_are_small(tmp_path: Path, ending: str, begins: bytes) -> None:
    path, out = recorded(tmp_path / "t", "grid-world"), tmp_path / f"run{ending}"
    main([str(path), "--out", str(out), "--episodes", "1"])
    assert out.read_bytes().startswith(begins)
    with Image.open(out) as film:
        assert film.size[0] <= 320
        shown = [np.asarray(frame.convert("RGB"), float) for frame in ImageSequence.Iterator(film)]
    assert 1 < len(shown) <= TICKS + 1  # frames that are alike may be one
    assert max(np.abs(frame - shown[0]).max() for frame in shown) > 50
    assert sorted(p.name for p in tmp_path.iterdir()) == [out.name, "t"]


@pytest.mark.parametrize(
    ("rate_hz", "stride"), [(10.0, 1), (25.0, 1), (30.0, 2), (50.0, 2), (100.0, 4), (125.0, 5)]
)
def test_a_film_has_at_most_25_frames_a_second(rate_hz: float, stride: int) -> None:
    assert renderer.stride(rate_hz) == stride


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
def test_a_mujoco_robot_is_filmed_or_the_error_names_the_missing_package(tmp_path: Path) -> None:
    path, out = recorded(tmp_path / "t", "halfcheetah"), tmp_path / "run.mp4"
    made = odeploy("film", str(path), "--out", str(out))
    if made.returncode == 0:
        assert out.stat().st_size > 1000
    else:  # a machine without EGL and OSMesa
        assert "apt-get install libosmesa6" in made.stderr
        assert not out.exists()
