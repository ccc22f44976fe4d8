"""Odeploy's own revision, or None."""

import subprocess
from pathlib import Path

from odeploy_runtime.realtime.machine import git_revision


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=t", "-c", "user.email=t@t")
    done = subprocess.run(["git", "-C", folder, *identity, *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_a_checkouts_revision_is_marked_when_files_are_changed(tmp_path: Path) -> None:
    assert git_revision(tmp_path) is None
    git(tmp_path, "init", "-q")
    assert git_revision(tmp_path) is None  # no commit yet
    (tmp_path / "a").write_text("1")
    git(tmp_path, "add", "a")
    git(tmp_path, "commit", "-qm", "a")
    assert git_revision(tmp_path) == git(tmp_path, "rev-parse", "HEAD")
    (tmp_path / "a").write_text("2")
    assert git_revision(tmp_path) == git(tmp_path, "rev-parse", "HEAD") + "-dirty"


def test_a_repository_around_an_installed_odeploy_gives_no_revision(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    git(tmp_path, "commit", "-qm", "theirs", "--allow-empty")
    inside = tmp_path / "site-packages"
    inside.mkdir()
    assert git_revision(tmp_path) is not None
    assert git_revision(inside) is None
