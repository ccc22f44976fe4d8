"""`odeploy operate`: each command reaches the robot's panel, and a killed dead-man switch opens."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from odeploy_runtime.cli.operate import main
from odeploy_runtime.errors import UnreachableError
from odeploy_runtime.safety.operator_panel import Panel
from odeploy_runtime.testing import FakeClock

MS = 1_000_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "robot.panel"


@pytest.fixture
def panel(path: Path, clock: FakeClock) -> Iterator[Panel]:
    with closing(Panel(path, dead_man=True, clock=clock)) as made:
        yield made


def test_a_command_can_have_negative_numbers(panel: Panel, path: Path) -> None:
    main(["command", str(path), "0.5", "-0.25"])
    panel.read()
    assert panel.command == (0.5, -0.25)


def test_a_command_without_a_robot_is_an_error_with_the_path(path: Path) -> None:
    with pytest.raises(
        UnreachableError, match="expected a robot of this user on this machine, got No such file"
    ) as raised:
        main(["stop", str(path)])
    assert raised.value.where == f"panel {path}"


def test_stop_is_sent_and_confirmed(panel: Panel, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["stop", str(path)])
    assert panel.read().stop
    assert f"stop: sent to {path}" in capsys.readouterr().out


def test_a_killed_switch_opens(panel: Panel, path: Path, clock: FakeClock) -> None:
    holding = subprocess.Popen(
        [
            sys.executable,
            "-c",
            f"from odeploy_runtime.cli.operate import main; main(['hold', {str(path)!r}])",
        ]
    )
    try:
        while not panel.read().held:
            assert holding.poll() is None
        clock.ns += 10**9
        while not panel.read().held:  # it repeats its message
            assert holding.poll() is None
    finally:
        holding.kill()
        holding.wait()
    panel.read()
    clock.ns += 200 * MS
    assert not panel.read().held
