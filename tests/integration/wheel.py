"""The wheel of this checkout, built without network and without build isolation."""

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = {
    "odeploy": ROOT / "odeploy",
    "odeploy_runtime": ROOT / "runtime/odeploy_runtime",
    "odeploy_sim": ROOT / "sim_bridge/odeploy_sim",
    "odeploy_train": ROOT / "train/odeploy_train",
    "odeploy_export": ROOT / "export/odeploy_export",
}
"""Top-level name -> folder of its source."""


def built(folder: Path) -> Path:
    """Build the wheel into a folder; return its path."""
    command = [sys.executable, "-P", "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=120)
    (wheel,) = folder.glob("*.whl")
    return wheel


def names(wheel: Path) -> set[str]:
    """Return the paths of a wheel's files."""
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def sources() -> set[str]:
    """Return the paths that the wheel's packages must have: all tracked files of the five source folders."""
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    files = [ROOT / line for line in tracked.splitlines()]
    return {
        str(Path(name, file.relative_to(folder)))
        for name, folder in PACKAGES.items()
        for file in files
        if file.is_relative_to(folder)
    }
