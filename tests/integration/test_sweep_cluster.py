"""A sweep on two Ray nodes of this machine over one shared folder, one of which is killed in the middle."""

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from odeploy_runtime.realtime.child_process import DEVNULL, STDOUT, start
from odeploy_train.runs import checkpoint
from tests.integration.programs import started

SEEDS, STEPS = 3, 32_768
SPEC = f"""
tasks = ["multigoal-2d"]
seeds = {list(range(SEEDS))}
episodes = 2
[demos.multigoal-2d]
episodes = 4
[methods.BC]
verb = "bc"
options = {{ steps = 20, score_episodes = 0 }}
[methods.PPO]
verb = "ppo"
demos = false
options = {{ steps = {STEPS}, ticks = 64, workers = 0, score_every = 2048, score_episodes = 1 }}
"""
# Otherwise Ray takes half a minute to give a node up.
QUICK = {"RAY_health_check_initial_delay_ms": "1000", "RAY_health_check_period_ms": "1000"}
# Without it anyone on this machine could run code by the cluster.
TOKEN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}


@contextmanager
def node(*options: str) -> Iterator[int]:
    """Run a Ray node with one core, and yield its process id; kill all of it on the way out."""
    common = ["--num-cpus=1", "--object-store-memory=80000000", "--disable-usage-stats", "--block"]
    program = [sys.executable, "-m", "ray.scripts.scripts", "start", *common, *options]
    process = start(program, stdout=DEVNULL, stderr=STDOUT, environment=os.environ | QUICK | TOKEN)
    try:
        yield process.pid
    finally:
        kill_all(process.pid)
        process.wait()


def tree(root: int) -> list[int]:
    """Return a process and its descendants."""
    listing = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    parents = {int(pid): int(parent) for pid, parent in (line.split() for line in listing.splitlines())}
    found = [root]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return found


def kill_all(root: int) -> None:
    """Kill a node's processes; all are stopped first, so that none reacts to another's death."""
    found = tree(root)
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for pid in found:
            with suppress(ProcessLookupError):
                os.kill(pid, number)


def kill_raylet(root: int) -> None:
    """Kill the process by which a node belongs to its cluster; its trainings end a little later."""
    raylet = next(pid for pid in tree(root) if Path(f"/proc/{pid}/exe").resolve().name == "raylet")
    os.kill(raylet, signal.SIGKILL)


def training_on(root: int, trained: Path) -> Path | None:
    """Return the folder of a training on a node, once it has a checkpoint and is in its first half."""
    for pid in tree(root):
        with suppress(OSError, ValueError):
            words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
            folder = Path(words[words.index("--out") + 1])
            if folder.parent == trained and 0 < step_of(folder) < STEPS / 2:
                return folder
    return None


def step_of(folder: Path) -> int:
    """Return the step of a training's checkpoint; 0 without one."""
    saved = checkpoint.load(folder)
    return 0 if saved is None else int(saved["step"])


def wait_until(reached: Callable[[], bool], within_s: float = 180) -> None:
    deadline = time.monotonic() + within_s
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def is_open(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


@pytest.mark.thorough
@pytest.mark.timeout(600)
@pytest.mark.parametrize("lose", [kill_all, kill_raylet], ids=["all of it", "its raylet"])
def test_every_run_ends_once_though_a_node_is_killed(
    tmp_path: Path, lose: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in TOKEN.items():
        monkeypatch.setenv(name, value)
    spec, results, out = tmp_path / "tiny.toml", tmp_path / "results.jsonl", tmp_path / "runs"
    spec.write_text(SPEC)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    here = f"127.0.0.1:{port}"
    with (
        tempfile.TemporaryDirectory(prefix="ray-") as folder,  # Ray's sockets need a shorter path than tmp_path
        node("--head", f"--port={port}", "--include-dashboard=false", f"--temp-dir={folder}"),
    ):
        wait_until(lambda: is_open(port))
        with node(f"--address={here}", "--node-ip-address=127.0.0.2") as other:
            sweep = started("sweep", str(spec), "--results", str(results), "--out", str(out), "--address", here)
            try:
                wait_until(lambda: sweep.poll() is not None or training_on(other, out / "trained") is not None)
                assert sweep.poll() is None, sweep.communicate()[0]
                interrupted = training_on(other, out / "trained")
                assert interrupted is not None
                lose(other)
                begun_again_at = step_of(interrupted)
                printed, _ = sweep.communicate(timeout=300)
            finally:
                sweep.kill()
                sweep.wait()
    assert sweep.returncode == 0, printed
    lines = [json.loads(line) for line in results.read_text().splitlines()]
    ended = sorted((line["method"], line["seed"]) for line in lines)
    assert ended == sorted((method, seed) for method in ("BC", "PPO") for seed in range(SEEDS))
    (again,) = (e for e in lines if e["method"] == "PPO" and f"-seed-{e['seed']}-" in interrupted.name)
    assert again["curve"]["steps"] == list(range(2048, STEPS + 1, 2048))
    attempts = sorted(interrupted.glob("events.*"), key=lambda path: path.stat().st_mtime)
    assert len(attempts) == 2
    continued = EventAccumulator(str(attempts[1])).Reload().Scalars("score/success")
    assert continued[0].step > begun_again_at
    assert [step_of(folder) for folder in (out / "trained").glob("ppo-*[0-9a-f]")] == [STEPS] * SEEDS
    assert list(out.rglob("*.partial")) == []
    listing = subprocess.run(["ps", "-eo", "pid,args"], capture_output=True, text=True, check=True).stdout
    assert str(out) not in listing
