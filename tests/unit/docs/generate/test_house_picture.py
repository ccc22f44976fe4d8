"""The picture of the house in CONTRIBUTING.md shows the contracts, and every room that there is."""

import pytest

from docs.generate.house_picture import FOLDERS, PAGE, layers, page, picture
from tests.house.layout import FLOORS


def test_the_committed_picture_is_current() -> None:
    text = PAGE.read_text()
    assert text == page(text), "write it again: python -m docs.generate.house_picture"


@pytest.mark.parametrize("package", FOLDERS)
def test_every_room_has_a_layer(package: str) -> None:
    rooms = {file.parent.name for file in FLOORS[package].glob("*/__init__.py")}
    named = {room for layer in layers(package) for room in layer}
    assert rooms <= named
    assert named <= rooms | {file.stem for file in FLOORS[package].glob("*.py")}


def test_columns_are_aligned_and_fit_a_page() -> None:
    lines = picture().splitlines()
    assert max(map(len, lines)) <= 110
    starts = [lines[2].index(package) for package in FOLDERS]
    assert starts == [lines[1].index(folder) for folder in FOLDERS.values()]
