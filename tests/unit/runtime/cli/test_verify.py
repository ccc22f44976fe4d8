"""`odeploy verify` on a robot: checks without torch and simulation; the others are reported as not run."""

import importlib.util
from pathlib import Path

import pytest

from odeploy_runtime.cli.verify import CLOSED_LOOP, DOCTOR, PARITY, main
from odeploy_runtime.errors import MissingError, RelayedError
from odeploy_sim.catalogue.locomotion import HOPPER
from odeploy_sim.experts.trained import trained

FILE = str(trained(HOPPER))


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Commands of the child processes, recorded and not run; one with a run folder fails."""
    commands: list[list[str]] = []

    def finish(command: list[str]) -> tuple[int, str, str]:
        commands.append(command)
        return (1, "", "noise\nwhat is wrong\n") if "--run" in command else (0, "", "")

    monkeypatch.setattr("odeploy_runtime.cli.verify.finish", finish)
    return commands


def test_a_file_alone_is_checked_by_its_golden_rows(
    started: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    main([FILE])
    output = capsys.readouterr().out
    assert "golden rows: 8 within" in output
    assert "parity check: not run (give --run RUN)" in output
    assert "doctor: not run (give --task TASK)" in output
    assert started == []


def test_the_doctor_gets_file_task_and_episodes(started: list[list[str]]) -> None:
    main([FILE, "--task", "hopper", "--episodes", "3"])
    assert [command[-6:] for command in started] == [[DOCTOR, FILE, "--task", "hopper", "--episodes", "3"]]


def test_the_last_line_of_a_failed_check_is_the_error(started: list[list[str]], tmp_path: Path) -> None:
    with pytest.raises(RelayedError, match=r"^what is wrong$"):
        main([FILE, "--run", str(tmp_path), "--task", "hopper"])
    assert len(started) == 1


def test_a_task_without_an_installed_simulation_is_refused(
    started: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "mujoco" else found(name))
    with pytest.raises(MissingError, match=r"odeploy\[sim\]"):
        main([FILE, "--task", "hopper"])
    assert started == []


@pytest.mark.parametrize("program", [PARITY, CLOSED_LOOP, DOCTOR])
def test_each_program_of_another_package_exists(program: str) -> None:
    assert importlib.util.find_spec(program) is not None
