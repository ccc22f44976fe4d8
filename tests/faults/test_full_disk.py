"""Full and read-only disks: one line, nothing half written, and the same command works later."""

import subprocess
import sys
from pathlib import Path

import pytest

from odeploy_sim.catalogue.mazes import MAZE_MEDIUM
from tests.policies import policy_path

pytestmark = [pytest.mark.faults, pytest.mark.fault(39)]


def on_disk(folder: Path, options: str, script: str) -> str:
    """Run a script in a folder with a file system of its own; return its output."""
    command = ["unshare", "--map-root-user", "--mount", "sh", "-c"]
    verb = f"odeploy() {{ {sys.executable} -m odeploy $@; }}"
    mount = f"mount -t tmpfs -o {options} tmpfs {folder} && cd {folder} && {verb}"
    if subprocess.run([*command, mount], capture_output=True, check=False).returncode != 0:
        pytest.skip("this machine grants no mount namespace")
    done = subprocess.run([*command, f"{mount}\n{script}"], capture_output=True, text=True, check=False)
    output = done.stdout + done.stderr
    assert "Traceback" not in output
    return output


def test_keys_on_a_full_disk_leave_nothing_and_the_retry_works(tmp_path: Path) -> None:
    again = "rm x; mount -o remount,size=1m .; odeploy keys arm; ls -A"
    output = on_disk(tmp_path, "size=4k", f"echo x > x; odeploy keys arm; ls -A; {again}")
    printed, refusal = output.split("odeploy keys: ")
    assert "No space left on device" in refusal
    assert (printed.split()[0], printed.split()[1]) == ("x", "public,")  # only that file was there
    assert printed.split()[-2:] == ["arm.key", "arm.key_secret"]


def test_collecting_on_a_full_disk_is_one_line(tmp_path: Path) -> None:
    output = on_disk(tmp_path, "size=16k", "odeploy collect multigoal-2d --episodes 200 --out demos-v0; ls -A")
    assert "No space left on device" in output
    assert "free some space" in output
    assert output.splitlines()[-1].startswith("odeploy collect: ")


def test_a_bench_in_a_read_only_folder_is_one_line(tmp_path: Path) -> None:
    policies = tmp_path / "policies"
    policies.mkdir()
    disk = tmp_path / "disk"
    disk.mkdir()
    policy = policy_path(policies, MAZE_MEDIUM)
    output = on_disk(disk, "ro", f"odeploy bench {policy} --task maze-medium --episodes 1")
    assert output.startswith("odeploy bench: runs/bench: expected a path that can be written, got Read-only file")
    assert len(output.splitlines()) == 1
