"""The layout of the house: its source folders, modules and rooms, as the tests of its structure see them."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
FLOORS = {
    "odeploy_export": ROOT / "export/odeploy_export",
    "odeploy_train": ROOT / "train/odeploy_train",
    "odeploy_sim": ROOT / "sim_bridge/odeploy_sim",
    "odeploy_runtime": ROOT / "runtime/odeploy_runtime",
}
"""Package -> folder, from the highest floor to the lowest."""
PACKAGES = {"odeploy": ROOT / "odeploy", **FLOORS}


def modules() -> list[Path]:
    """Return the source files of all packages."""
    return sorted(file for folder in PACKAGES.values() for file in folder.rglob("*.py"))


def rooms() -> list[Path]:
    """Return the folders of all rooms: the packages directly below a floor."""
    return sorted(file.parent for folder in FLOORS.values() for file in folder.glob("*/__init__.py"))
