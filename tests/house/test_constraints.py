"""Locked installs: exact versions, no index addresses, and hashes for what a robot installs."""

import re
import tomllib

import pytest

from tests.house.layout import ROOT

ALL, ROBOT = ROOT / "constraints.txt", ROOT / "constraints-robot.txt"
_PINNED = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)==([A-Za-z0-9.!]+)( \\)?")
_HASH = re.compile(r"    --hash=sha256:[0-9a-f]{64}( \\)?")


def pinned(text: str) -> dict[str, str]:
    """Return the version of each pinned package, by normalised name."""
    found = (_PINNED.fullmatch(line) for line in text.splitlines())
    return {re.sub(r"[-_.]+", "-", match[1]).lower(): match[2] for match in found if match}


@pytest.mark.parametrize("file", [ALL, ROBOT], ids=lambda file: file.name)
def test_no_address_of_an_index_is_committed(file: object) -> None:
    assert isinstance(file, type(ALL))
    assert "://" not in file.read_text()


def test_every_line_is_an_exact_version() -> None:
    lines = ALL.read_text().splitlines()
    assert len(pinned(ALL.read_text())) == len(lines) > 50
    assert [line for line in lines if "+" in line or line.endswith("\\")] == []


def test_every_package_of_a_robot_has_hashes_and_the_version_that_is_tested() -> None:
    text = ROBOT.read_text()
    lines = text.splitlines()
    assert [line for line in lines if not _PINNED.fullmatch(line) and not _HASH.fullmatch(line)] == []
    for line, after in zip(lines, [*lines[1:], ""], strict=True):
        assert line.endswith("\\") == after.startswith("    --hash")
    robot, tested = pinned(text), pinned(ALL.read_text())
    assert len(robot) == sum(not line.startswith(" ") for line in lines)
    assert {name: tested.get(name) for name in robot} == robot


def test_a_robots_lock_has_every_dependency_of_the_runtime() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["cpu"]]
    assert {re.split(r"[<>=]", each)[0] for each in wanted} <= pinned(ROBOT.read_text()).keys()
