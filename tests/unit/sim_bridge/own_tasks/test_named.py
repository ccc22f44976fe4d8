"""Tasks that files name: the catalogue or the user's reference, never code that a file names."""

import dataclasses
from pathlib import Path

import pytest

from odeploy_runtime.errors import ContractError, MissingError
from odeploy_runtime.signals import Signal
from odeploy_sim.catalogue import get
from odeploy_sim.own_tasks import registry
from odeploy_sim.own_tasks.named import StoredTask, among, named, require_same
from odeploy_sim.tasks.task import Task

HOPPER = get("hopper")
ARM = Task("arm", (Signal("q", "rad", -1, 1), Signal("v", "rad/s")), (Signal("u", "N·m", -2, 2),), 50, 100)
TOML = """
name = "arm"
rate_hz = 50
horizon = 100
observation = [{ name = "q", unit = "rad", low = -1, high = 1.0 }, { name = "v", unit = "rad/s" }]
action = [{ name = "u", unit = "N·m", low = -2, high = 2 }]
"""


def stored(task: Task, *, signals: bool = True) -> StoredTask:
    facts = (task.observation, task.action, task.rate_hz) if signals else ()
    return StoredTask("run.trace", task.name, task.digest, *facts)


@pytest.fixture
def arm(tmp_path: Path) -> str:
    path = tmp_path / "arm.toml"
    path.write_text(TOML)
    return str(path)


def test_a_catalogued_name_needs_no_reference_and_older_files_no_digest() -> None:
    assert named(stored(HOPPER), None) is HOPPER
    assert named(StoredTask("old.trace", "hopper"), None) is HOPPER


def test_another_name_needs_a_reference_of_that_name(arm: str) -> None:
    with pytest.raises(MissingError, match=r"run\.trace: expected a reference of its task arm.*add --task"):
        named(stored(ARM), None)
    assert named(stored(ARM), arm).reference == arm
    with pytest.raises(ContractError, match=r"expected the task arm, which run\.trace names, got the task hopper"):
        named(stored(ARM), "hopper")


def test_a_name_in_a_file_imports_no_installed_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "entry_points", lambda **_: pytest.fail("an entry point was looked up"))
    with pytest.raises(MissingError, match="its task arm"):
        named(stored(ARM), None)
    for name in ("gym:Reacher-v5", "os:path", "arm.py:TASK", "arm.toml"):
        with pytest.raises(MissingError, match="which is not catalogued"):
            named(StoredTask("run.trace", name), None)


def test_a_task_that_this_program_registered_is_known_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_registered", {})
    registry.register(ARM)
    assert named(stored(ARM), None) is ARM


def test_references_of_several_files_are_taken_by_name(arm: str) -> None:
    assert among(stored(ARM), [arm]).name == "arm"
    assert among(stored(HOPPER), [arm]) is HOPPER


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"observation": ARM.observation[::-1]},
            r"observation\[0\]: expected q \[rad\] from -1 to 1, as in the file, ",
        ),
        ({"observation": ARM.observation[:1]}, r"observation\[1\]: expected v \[rad/s\] .* got no signal"),
        (
            {"action": (Signal("u", "N·m", -2, 3),)},
            r"action\[0\]: .* from -2 to 2, as in the file, .* from -2 to 3",
        ),
        ({"rate_hz": 100.0}, "rate_hz: expected 50 Hz, as in the file, got 100 Hz"),
        ({"horizon": 101}, "horizon: expected another number of ticks, as in the file, got 101 ticks"),
    ],
)
def test_a_task_that_has_changed_is_refused_by_the_first_difference(
    change: dict[str, object], message: str
) -> None:
    changed = dataclasses.replace(ARM, **change)  # type: ignore[arg-type]
    with pytest.raises(ContractError, match=message):
        require_same(stored(ARM), changed)
    with pytest.raises(ContractError, match=f"digest {ARM.digest}, as in the file, got digest {changed.digest}"):
        require_same(stored(ARM, signals=False), changed)


def test_facts_that_are_no_signals_change_no_digest() -> None:
    assert dataclasses.replace(ARM, summary="other", safe_action=(1.0,), reference="x.toml").digest == ARM.digest
