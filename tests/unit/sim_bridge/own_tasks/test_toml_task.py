"""Task files: written, edited, read, and their faults."""

from pathlib import Path

import pytest

from odeploy_runtime.errors import ContractError, FormatError, MissingError
from odeploy_sim.cli.tasks import main_new
from odeploy_sim.own_tasks import gym_task, toml_task
from odeploy_sim.own_tasks.reference import resolve
from odeploy_sim.tasks.env import TaskEnv

SIGNALS = """
name = "arm"
rate_hz = 100
horizon = 50

[[observation]]
name = "elbow_angle"
unit = "rad"

[[action]]
name = "elbow_torque"
unit = "N·m"
low = -5
high = 5
"""


def test_a_written_file_is_the_task_that_it_was_written_from(tmp_path: Path) -> None:
    path = tmp_path / "reacher.toml"
    main_new(["gym:Reacher-v5", "--out", str(path)])
    read, made = resolve(str(path)), gym_task.task("gym:Reacher-v5")
    assert (read.observation, read.action, read.safe_action) == (made.observation, made.action, made.safe_action)
    assert (read.rate_hz, read.horizon, read.reference) == (made.rate_hz, made.horizon, str(path))
    TaskEnv(read).close()


def test_made_up_names_are_marked() -> None:
    text = toml_task.text(gym_task.task("gym:Pendulum-v1"), "Pendulum-v1")
    assert text.count("# made up: name it") == 4


def test_what_the_file_states_overrides_the_environment(tmp_path: Path) -> None:
    path = tmp_path / "short.toml"
    path.write_text('name = "short-reacher"\ngym = "Reacher-v5"\nhorizon = 7\n')
    task = resolve(str(path))
    assert (task.name, task.horizon, len(task.observation)) == ("short-reacher", 7, 10)


def test_signals_alone_are_a_task_that_cannot_be_simulated(tmp_path: Path) -> None:
    path = tmp_path / "arm.toml"
    path.write_text(SIGNALS)
    task = resolve(str(path))
    assert task.observation_names == ("elbow_angle",)
    with pytest.raises(MissingError, match="expected an environment to simulate, got signals alone"):
        TaskEnv(task)


@pytest.mark.parametrize(
    ("old", "new", "error", "message"),
    [
        ("rate_hz", "rate_h", FormatError, "a known field such as rate_hz, got rate_h"),
        ('unit = "rad"', 'unti = "rad"', FormatError, r"observation\[0\]: expected a known field such as unit"),
        ("horizon = 50", "", FormatError, "horizon: expected a value, as the file names no environment"),
        ("rate_hz = 100", 'rate_hz = "fast"', FormatError, r"rate_hz: expected float, got str"),
        ("horizon = 50", "horizon = 50\nsafe_action = [7]", ContractError, "safe_action of elbow_torque"),
        ("high = 5", "", ContractError, "low and high of each action signal"),
        ("name", "name name", FormatError, "expected TOML"),
    ],
)
def test_a_fault_names_file_field_and_remedy(
    tmp_path: Path, old: str, new: str, error: type[Exception], message: str
) -> None:
    path = tmp_path / "arm.toml"
    path.write_text(SIGNALS.replace(old, new, 1))
    with pytest.raises(error, match=message):
        resolve(str(path))


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="a task file"):
        resolve(str(tmp_path / "none.toml"))
