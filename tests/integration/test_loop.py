"""Server and robot as two real processes, in all three modes: every tick is accounted for."""

import contextlib
import json
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from odeploy_runtime.inference.noise import NoiseSource
from odeploy_runtime.inference.policy import load_policy
from odeploy_runtime.policy_file.file import read
from odeploy_runtime.realtime.serving import serving
from odeploy_runtime.reports.latency import stages_ns, totals_ns
from odeploy_runtime.safety.states import State
from odeploy_runtime.trace.format import APPLIED, HELD, SKIPPED, STAMPS, Trace
from odeploy_runtime.trace.reader import read_trace
from odeploy_sim.catalogue.locomotion import HOPPER
from odeploy_sim.catalogue.manipulation import FETCH_REACH
from odeploy_sim.catalogue.mazes import MAZE_MEDIUM
from odeploy_sim.tasks.task import Task
from tests.integration.programs import in_process, odeploy, started
from tests.policies import policy_path
from tests.thorough import mostly_thorough
from tests.unit.runtime.realtime.test_http_metrics import free_port, get


def drive(folder: Path, task: Task, *options: str, kind: str = "mlp", policy: Path | None = None) -> Trace:
    path = folder / f"{task.name}.trace"
    file = policy or policy_path(folder, task, kind)
    result = odeploy("sim", task.name, "--policy", str(file), "--trace", str(path), *options)
    assert result.returncode == 0, result.stdout + result.stderr
    return read_trace(path)


def to(path: Path) -> list[str]:
    return ["--trace", str(path)]


def assert_accounted(trace: Trace) -> None:
    rows = trace.rows
    for episode in np.unique(rows["episode"]):
        ticks = rows["tick"][rows["episode"] == episode]
        assert (ticks == np.arange(len(ticks))).all()
    stamps = rows["stamps"]
    assert (stages_ns(stamps) >= 0).all()
    assert (stages_ns(stamps).sum(axis=1) == totals_ns(stamps)).all()
    answered, ran = rows["kind"] == APPLIED, rows["kind"] != SKIPPED
    assert (
        stamps[ran][:, [STAMPS.index(s) for s in ("woke", "observed", "sent", "applied", "stepped")]] > 0
    ).all()
    if trace.header.mode != "stream":
        assert (stamps[answered] > 0).all()
    due, period_ns = stamps[:, 0], round(1e9 / trace.header.rate_hz)
    if trace.header.mode != "lockstep":
        within = np.diff(rows["episode"]) == 0
        assert (np.diff(due)[within] == period_ns).all()


@pytest.mark.parametrize("task", mostly_thorough([MAZE_MEDIUM, HOPPER, FETCH_REACH]), ids=lambda t: t.name)
def test_every_task_runs_in_lockstep_without_a_miss(tmp_path: Path, task: Task) -> None:
    trace = drive(tmp_path, task, "--mode", "lockstep", "--episodes", "2")
    assert_accounted(trace)
    assert (trace.rows["kind"] == APPLIED).all()
    assert trace.rows["episode"].max() == 1


@pytest.mark.parametrize(
    ("kind", "mode"),
    mostly_thorough([("mlp", "stream"), ("flow", "realtime"), ("mlp", "realtime"), ("flow", "stream")]),
)
def test_a_paced_robot_gets_its_actions_and_every_due_tick_has_a_row(tmp_path: Path, kind: str, mode: str) -> None:
    trace = drive(tmp_path, FETCH_REACH, "--mode", mode, "--rate", "20", "--episodes", "1", kind=kind)
    assert_accounted(trace)
    assert set(np.unique(trace.rows["state"])) <= set(State)
    applied = trace.rows[trace.rows["kind"] == APPLIED]
    assert len(applied) > 0  # how many depends on the machine: `make bench`
    assert (applied["epoch"] == 1).all()
    assert (applied["age_ns"] > 0).all()


def test_lockstep_gives_the_same_in_one_process_and_its_noise_reproduces_its_actions(tmp_path: Path) -> None:
    file = policy_path(tmp_path, MAZE_MEDIUM, "flow")
    options = "--mode", "lockstep", "--episodes", "2", "--seed", "5"
    first = drive(tmp_path, MAZE_MEDIUM, *options, policy=file)
    in_process("sim", MAZE_MEDIUM.name, "--policy", str(file), "--in-process", *options, *to(tmp_path / "b"))
    second = read_trace(tmp_path / "b")
    for field in ("observation", "action", "reward", "success"):
        assert np.array_equal(first.rows[field], second.rows[field])
    policy = load_policy(read(file), "auto")  # as a server loads it by default
    noise = NoiseSource(policy.manifest.noise, seed=5)
    for row in first.rows[::37]:
        action = policy.infer(row["observation"], noise.draw(int(row["episode"]), int(row["tick"])))[0]
        assert np.array_equal(action, row["action"])


@pytest.mark.thorough
def test_another_seed_gives_other_episodes(tmp_path: Path) -> None:
    file = policy_path(tmp_path, MAZE_MEDIUM)
    one, two = (
        drive(tmp_path, MAZE_MEDIUM, "--mode", "lockstep", "--episodes", "1", "--seed", seed, policy=file)
        for seed in ("1", "2")
    )
    assert not np.array_equal(one.rows["observation"][0], two.rows["observation"][0])


def test_a_running_robot_serves_health_and_metrics_over_http(tmp_path: Path) -> None:
    port = free_port()
    file = policy_path(tmp_path, MAZE_MEDIUM)
    options = ["--policy", str(file), "--in-process", "--rate", "25", "--episodes", "1000", "--http", str(port)]
    robot = started("sim", MAZE_MEDIUM.name, *options, *to(tmp_path / "t"))
    deadline, answered = time.monotonic() + 60, 0.0
    while answered < 10:
        assert time.monotonic() < deadline
        assert robot.poll() is None, robot.communicate()[0]
        time.sleep(0.1)
        with contextlib.suppress(OSError):
            page = get(port, "/metrics")[1]
            answered = metric(page, 'odeploy_robot_ticks_total{kind="run"}')
    live, ready = get(port, "/live"), get(port, "/ready")
    robot.send_signal(signal.SIGINT)
    robot.communicate(timeout=30)
    assert (live, ready) == ((200, "ok\n"), (200, "ok\n"))
    assert metric(page, "odeploy_robot_misses_total") >= metric(page, 'odeploy_robot_ticks_total{kind="skipped"}')
    assert answered <= (read_trace(tmp_path / "t").rows["kind"] == APPLIED).sum()
    assert robot.returncode == 130


def metric(page: str, name: str) -> float:
    """Return one value of a Prometheus page."""
    return float(next(line for line in page.splitlines() if line.startswith(f"{name} ")).split()[-1])


def test_a_server_serves_two_robots_one_after_the_other(tmp_path: Path) -> None:
    with serving(policy_path(tmp_path, MAZE_MEDIUM)) as endpoint:
        for name in ("a", "b"):
            path = tmp_path / f"{name}.trace"
            options = ["--mode", "lockstep", "--episodes", "1", "--robot", "arm", "--trace", str(path)]
            result = odeploy("sim", "maze-medium", "--endpoint", endpoint, *options)
            assert result.returncode == 0, result.stderr
            assert (read_trace(path).rows["kind"] != HELD).all()


@pytest.mark.thorough
def test_a_bench_writes_figures_lower_bounds_traces_and_a_report(tmp_path: Path) -> None:
    file, out = policy_path(tmp_path, FETCH_REACH), tmp_path / "bench"
    options = ["--task", "fetch-reach", "--rates", "100", "--episodes", "2", "--lockstep", "1", "--out", str(out)]
    result = odeploy("bench", str(file), *options, "--transport", "lane,zmq")
    assert result.returncode == 0, result.stdout + result.stderr
    rows = json.loads((out / "bench.json").read_text())["rows"]
    assert [row["mode"] for row in rows] == ["realtime", "realtime", "lockstep"]
    assert [row["transport"] for row in rows] == ["lane", "zmq", "lane"]
    assert len({row["trace"] for row in rows}) == len(rows)
    paced = rows[0]
    assert 100 <= paced["ticks_due"] == len(read_trace(out / paced["trace"]).rows)
    assert paced["applied"] + paced["held"] + paced["skipped"] == paced["ticks_due"]
    assert paced["round_trip_us"]["p99.9"] is None
    floors = paced["floors"]
    sums = floors["echo"]["touched"]["p50"] + floors["session"]["touched"]["p50"]
    assert paced["round_trip_to_floors"] == pytest.approx(paced["round_trip_us"]["p50"] / sums)
    report = odeploy("report", str(out))
    assert report.returncode == 0, report.stderr
    page = (out / "report.html").read_text()
    assert page.count("<img") == 4
    assert "test-mlp" in page
