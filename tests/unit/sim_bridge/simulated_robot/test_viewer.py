"""The viewer: refused in one line where it cannot run."""

import pytest

from odeploy_runtime.errors import MissingError, UsageError
from odeploy_sim.catalogue import get
from odeploy_sim.simulated_robot.viewer import ViewedEnv


def test_without_a_display_the_error_suggests_a_film(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(MissingError, match=r"expected a display, .* --video"):
        ViewedEnv(get("hopper"))


def test_a_task_without_mujoco_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPLAY", ":0")
    with pytest.raises(UsageError, match="a task that MuJoCo simulates"):
        ViewedEnv(get("grid-world"))
