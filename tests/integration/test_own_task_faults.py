"""Faults of a user's own task: one line that names file, field and remedy, and exit status 2."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from odeploy import main as front
from tests.integration.test_bad_input import ONE_LINE
from tests.integration.test_own_task import TASK

Fails = Callable[..., str]
SIGNALS = """
name = "arm"
rate_hz = 50
horizon = 100
observation = [{ name = "q", unit = "rad" }]
action = [{ name = "u", unit = "N·m", low = -1, high = 1 }]
"""
PENDULUM = """
name = "swing"
gym = "Pendulum-v1"
rate_hz = 20
observation = [{ name = "x", unit = "1" }, { name = "y", unit = "1" }]
"""
GYM = """
import gymnasium
import numpy as np
from gymnasium.spaces import Box

class Camera(gymnasium.Env):
    observation_space, action_space = Box(0, 255, (8, 8, 3), np.uint8), Box(-1, 1, (1,))

class Endless(gymnasium.Env):
    observation_space, action_space = Box(-1, 1, (2,)), Box(-np.inf, np.inf, (1,))

class Jammed(gymnasium.Env):
    observation_space, action_space = Box(-1, 1, (2,)), Box(-1, 1, (1,))
    def reset(self, *, seed=None, options=None):
        raise RuntimeError("gripper jammed")

for kind in (Camera, Endless, Jammed):
    gymnasium.registry.pop(f"{kind.__name__}-v0", None)
    gymnasium.register(f"{kind.__name__}-v0", entry_point=kind)
"""


@pytest.fixture
def fails(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Fails:
    """Run a command line, which must fail as a user's mistake; return its line."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    monkeypatch.setenv("PYTHONSAFEPATH", "1")  # restored after the test

    def run(*words: str) -> str:
        monkeypatch.setattr(sys, "argv", ["odeploy", *words])
        with pytest.raises(SystemExit) as ended:
            front.main()
        line = capsys.readouterr().err
        assert ended.value.code == 2
        assert ONE_LINE.match(line), line
        return line

    return run


def changed(old: str, new: str, text: str = TASK) -> str:
    assert old in text
    return text.replace(old, new, 1)


@pytest.mark.parametrize(
    ("file", "text", "reference", "fragments"),
    [
        ("a.py", TASK, "./b.py:TASK", ("b.py: expected a Python file, got no such file", "correct the path")),
        ("a.toml", SIGNALS, "./b.toml", ("b.toml", "No such file", "correct the path")),
        ("a.py", TASK, "./a.py:CART", ("a.py:CART: expected a Task: TASK, got no CART",)),
        ("a.py", TASK, "gym:No-v0", ("gym:No-v0: expected a registered gymnasium id", "gym:PACKAGE:ID")),
        ("a.py", "x = 1\n1 / 0\n", "./a.py:TASK", ("a.py:2", "ZeroDivisionError", "correct that line")),
        ("a.py", TASK, "gym:CartPole-v1", ("action: expected a Box", "discrete actions are not supported")),
        ("own_gym.py", GYM, "gym:own_gym:Camera-v0", ("observation: expected a Box", "image")),
        ("own_gym.py", GYM, "gym:own_gym:Endless-v0", ("action: expected limits", "got -inf to inf")),
        ("own_gym.py", GYM, "gym:own_gym:Jammed-v0", ("own_gym.py:15", "raises nothing", "gripper jammed")),
        ("a.toml", changed("horizon", "horizn", SIGNALS), "./a.toml", ("a.toml", "horizon", "got horizn")),
        ("a.toml", SIGNALS + "safe_action = [2]\n", "./a.toml", ("safe_action of u", "-1 to 1, got 2")),
        ("a.toml", changed(", high = 1", "", SIGNALS), "./a.toml", ("limits", "got u without them")),
    ],
)  # fmt: skip
def test_a_reference_that_is_no_task(
    fails: Fails, tmp_path: Path, file: str, text: str, reference: str, fragments: tuple[str, ...]
) -> None:
    (tmp_path / file).write_text(text)
    sys.modules.pop("own_gym", None)
    line = fails("tasks", reference)
    for fragment in fragments:
        assert fragment in line


@pytest.mark.parametrize(
    ("file", "text", "fragments"),
    [
        ("a.toml", PENDULUM, ("task swing", "1 actions and 2 observations, got (1,) and (3,)")),
        ("a.py", changed("self.place, self.speed =", "1 / 0 #"), ("reset at", "a.py:16", "ZeroDivisionError")),
    ],
)
def test_an_environment_that_does_not_fit_or_raises(
    fails: Fails, tmp_path: Path, file: str, text: str, fragments: tuple[str, ...]
) -> None:
    (tmp_path / file).write_text(text)
    reference = f"./{file}" if file.endswith(".toml") else f"./{file}:TASK"
    line = fails("score", reference)
    for fragment in fragments:
        assert fragment in line
