"""Missing requirements of a film are reported early, in one line."""

from pathlib import Path

import pytest

from odeploy_runtime.errors import MissingError, UsageError
from odeploy_sim.catalogue.locomotion import HALFCHEETAH
from odeploy_sim.simulated_robot import film
from tests.unit.sim_bridge.simulated_robot.wobble import recorded


def test_missing_opengl_is_reported_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUJOCO_GL", "glfw")
    monkeypatch.delenv("DISPLAY", raising=False)
    path = recorded(tmp_path / "t", "halfcheetah")
    with pytest.raises(MissingError, match="expected OpenGL without a display, got none through glfw"):
        film.film(path, tmp_path / "run.mp4", HALFCHEETAH)
    assert not (tmp_path / "run.mp4").exists()


@pytest.mark.parametrize("name", ["run.avi", "run", "nowhere/run.mp4"])
def test_an_invalid_file_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match=r"ends in \.mp4, \.gif, \.webp or \.png"):
        film.require_writable(tmp_path / name)


def test_without_the_simulation_the_missing_package_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError) as raised:
        film.film(tmp_path / "t", tmp_path / "run.mp4", HALFCHEETAH)
    assert raised.value.name == "mujoco"
