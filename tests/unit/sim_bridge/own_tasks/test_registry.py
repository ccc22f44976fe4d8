"""Tasks of installed packages and of the program itself."""

from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import EntryPoint

import pytest

from odeploy_runtime.errors import MissingError, UsageError
from odeploy_sim.catalogue import get
from odeploy_sim.own_tasks import registry
from odeploy_sim.own_tasks.reference import resolve

Install = Callable[[str, str], None]

OWN = replace(get("hopper"), name="my-hopper")


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Install:
    def install(name: str, value: str) -> None:
        entry = EntryPoint(name, value, registry.GROUP)
        monkeypatch.setattr(registry, "entry_points", lambda group: [entry] if group == registry.GROUP else [])

    return install


def test_an_installed_package_adds_a_task(installed: Install) -> None:
    installed("my-hopper", f"{__name__}:OWN")
    assert resolve("my-hopper").name == "my-hopper"
    assert list(registry.installed()) == ["my-hopper"]


def test_its_name_must_be_the_entry_points(installed: Install) -> None:
    installed("other-hopper", f"{__name__}:OWN")
    with pytest.raises(UsageError, match="a task named other-hopper, got my-hopper"):
        resolve("other-hopper")


def test_a_program_registers_a_task_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_registered", {})
    registry.register(OWN)
    assert resolve("my-hopper") == OWN
    with pytest.raises(UsageError, match="hopper, which is catalogued"):
        registry.register(get("hopper"))


def test_an_unknown_name_offers_the_nearest_and_the_other_ways() -> None:
    with pytest.raises(MissingError, match=r"hopper.*file\.py:TASK, file\.toml, gym:ID-v0 or module:TASK"):
        resolve("hoper")
