"""Demonstrations from traces: the dataset has the trace's arrays, and incomplete episodes are counted."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from odeploy_runtime.errors import ContractError, UsageError
from odeploy_runtime.trace.format import APPLIED, ENDED, GOES_ON, INVALID, SKIPPED, STAMPS, STOPPED, new_header
from odeploy_runtime.trace.reader import read_trace
from odeploy_runtime.trace.writer import TraceWriter
from odeploy_runtime.transport import messages
from odeploy_sim.catalogue import TASKS
from odeploy_sim.cli import collect
from odeploy_sim.demonstrations.card import read_card
from odeploy_sim.demonstrations.dataset import load
from odeploy_sim.tasks.env import TaskEnv, episode_seed
from odeploy_sim.tasks.task import Task

TICKS = 6
SEED = 3
MAZE = dataclasses.replace(TASKS["maze-medium"], horizon=TICKS)


@pytest.fixture(autouse=True)
def short_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, task in list(TASKS.items()):
        monkeypatch.setitem(TASKS, name, dataclasses.replace(task, horizon=TICKS))


def driven(path: Path, ends: list[int], task: Task = MAZE, bend: float = 0.0, **changes: Any) -> Path:
    """Write a trace with an episode for each end; the third tick of each is skipped."""
    fields: dict[str, Any] = {
        "task": task.name,
        "scored_by": task.scored_by,
        "mode": "realtime",
        "rate_hz": task.rate_hz,
        "task_rate_hz": task.rate_hz,
        "deadline_ns": 0,
        "seed": SEED,
        "policy": "wobble",
        "fingerprint": "f" * 64,
        "observation": task.observation,
        "action": task.action,
        "obtained": {},
    }
    header = new_header(**(fields | changes))
    writer, env = TraceWriter(path, header, 100), TaskEnv(dataclasses.replace(task, horizon=TICKS))
    for episode, end in enumerate(ends):
        observation = env.reset(episode_seed(header.seed, episode))
        ticks = TICKS + 1 if end == ENDED else TICKS
        for tick in range(ticks):
            if tick == 2:
                writer.append(episode, tick, SKIPPED, (1,) * len(STAMPS))
                continue
            action = np.full(len(task.action), np.sin(tick + episode), np.float32)
            step = env.step(action)
            last = tick == ticks - 1
            writer.append(
                episode,
                tick,
                APPLIED,
                (1,) * len(STAMPS),
                success=step.success,
                reward=step.reward,
                end=end if last else GOES_ON,
                values=messages.to_bytes(observation + np.float32(bend * last)) + messages.to_bytes(action),
            )
            observation = step.observation
    writer.close()
    env.close()
    return path


def collected(out: Path, *options: str) -> Any:
    collect.main([*options, "--out", str(out)])
    return load(str(out), TASKS["maze-medium"])


@pytest.mark.parametrize("name", ["maze-medium", "hopper", "fetch-reach"])
def test_the_dataset_has_the_traces_arrays(tmp_path: Path, name: str) -> None:
    task = TASKS[name]
    trace = driven(tmp_path / "t.trace", [ENDED, ENDED], task)
    collect.main(["--from-trace", str(trace), "--out", str(tmp_path / "a-v0")])
    loaded, rows = load(str(tmp_path / "a-v0"), task), read_trace(trace).rows
    ran = rows[rows["kind"] != SKIPPED]
    np.testing.assert_array_equal(loaded.observations, ran["observation"])
    np.testing.assert_array_equal(loaded.actions, ran["action"])
    assert loaded.starts.tolist() == [0, TICKS]
    returns = [ran["reward"][ran["episode"] == episode].sum() for episode in (0, 1)]
    np.testing.assert_allclose(loaded.returns, returns, rtol=1e-6)


def test_the_card_names_the_policy_of_the_trace(tmp_path: Path) -> None:
    trace = driven(tmp_path / "t.trace", [ENDED, INVALID, ENDED], noise_level=1.0)
    loaded = collected(tmp_path / "a-v0", "--from-trace", str(trace))
    card = read_card(tmp_path / "a-v0")
    assert card is not None
    assert (card.task, card.quality, card.seed) == ("maze-medium", "driven realtime at 100 Hz", SEED)
    assert (card.expert.name, card.expert.fingerprint, card.expert.kind) == ("wobble", "f" * 64, "policy")
    assert (card.episodes, card.transitions, card.invalid_dropped) == (2, 2 * TICKS, 1)
    assert card.data_hash == loaded.data_hash


def test_broken_stopped_and_truncated_episodes_are_left_out_and_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trace = driven(tmp_path / "t.trace", [INVALID, STOPPED, ENDED, GOES_ON])
    loaded = collected(tmp_path / "a-v0", "maze-medium", "--from-trace", str(trace))
    rows = read_trace(trace).rows
    kept = rows[(rows["episode"] == 2) & (rows["kind"] != SKIPPED)]
    np.testing.assert_array_equal(loaded.observations, kept["observation"])
    output = capsys.readouterr().out
    assert "not included: 1 that broke, 0 that failed" in output
    assert "not included: 1 that were stopped, 1 that are not complete" in output


def test_with_stopped_too_stopped_episodes_are_kept(tmp_path: Path) -> None:
    trace = driven(tmp_path / "t.trace", [STOPPED, ENDED])
    loaded = collected(tmp_path / "a-v0", "--from-trace", str(trace), "--stopped-too")
    assert loaded.lengths.tolist() == [TICKS - 1, TICKS]


def test_an_episode_with_a_missing_row_is_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = driven(tmp_path / "t.trace", [ENDED, ENDED])
    data, size = path.read_bytes(), read_trace(path).rows.itemsize
    head = len(data) - 2 * (TICKS + 1) * size
    path.write_bytes(data[: head + 3 * size] + data[head + 4 * size :])
    loaded = collected(tmp_path / "a-v0", "--from-trace", str(path))
    assert loaded.lengths.tolist() == [TICKS]
    assert "0 that were stopped, 1 that are not complete" in capsys.readouterr().out


def test_several_traces_make_one_dataset_in_order(tmp_path: Path) -> None:
    first = driven(tmp_path / "a.trace", [ENDED])
    second = driven(tmp_path / "b.trace", [ENDED, ENDED], seed=8, policy="other", fingerprint="e" * 64)
    loaded = collected(tmp_path / "a-v0", "--from-trace", str(first), str(second))
    rows = np.concatenate([read_trace(path).rows for path in (first, second)])
    np.testing.assert_array_equal(loaded.observations, rows[rows["kind"] != SKIPPED]["observation"])
    card = read_card(tmp_path / "a-v0")
    assert card is not None
    assert (card.expert.name, card.expert.fingerprint) == ("other, wobble", f"{'e' * 64}, {'f' * 64}")


def test_with_successes_only_a_trace_of_failures_is_refused(tmp_path: Path) -> None:
    trace = driven(tmp_path / "t.trace", [ENDED])
    with pytest.raises(ContractError, match="none: 1 failed, 0 broke"):
        collect.main(["--from-trace", str(trace), "--successes-only", "--out", str(tmp_path / "a-v0")])


def test_a_simulation_that_differs_from_the_trace_is_refused_with_the_tick(tmp_path: Path) -> None:
    trace = driven(tmp_path / "t.trace", [ENDED], bend=1e-6)
    with pytest.raises(ContractError, match=f"episode 0, tick {TICKS}: expected the observation of the trace"):
        collect.main(["--from-trace", str(trace), "--out", str(tmp_path / "a-v0")])
    assert [path.name for path in tmp_path.iterdir()] == ["t.trace"]


def test_traces_of_different_tasks_are_refused(tmp_path: Path) -> None:
    maze = driven(tmp_path / "a.trace", [ENDED])
    hopper = driven(tmp_path / "b.trace", [ENDED], TASKS["hopper"])
    with pytest.raises(ContractError, match=r"b\.trace: expected a run of maze-medium"):
        collect.main(["--from-trace", str(maze), str(hopper), "--out", str(tmp_path / "a-v0")])


@pytest.mark.parametrize(
    ("options", "where"),
    [
        (["--episodes", "3"], "--episodes"),
        (["--quality", "noisy:1"], "--quality"),
        (["--policy", "p.onnx"], "--policy"),
        (["--seed", "1"], "--seed"),
    ],
)
def test_options_of_playing_are_refused(tmp_path: Path, options: list[str], where: str) -> None:
    trace = driven(tmp_path / "t.trace", [ENDED])
    with pytest.raises(UsageError) as raised:
        collect.main([*options, "--from-trace", str(trace), "--out", str(tmp_path / "a-v0")])
    assert raised.value.where.split()[0] == where


def test_a_task_beside_a_trace_is_the_one_of_the_trace(tmp_path: Path) -> None:
    trace = driven(tmp_path / "t.trace", [ENDED])
    with pytest.raises(ContractError, match=r"TASK hopper: expected the task maze-medium, which .*t\.trace names"):
        collect.main(["hopper", "--from-trace", str(trace), "--out", str(tmp_path / "a-v0")])


@pytest.mark.parametrize(
    ("options", "where"), [([], "odeploy collect"), (["hopper", "--stopped-too"], "--stopped-")]
)
def test_a_task_is_required_without_a_trace(options: list[str], where: str) -> None:
    with pytest.raises(UsageError, match=where):
        collect.main(options)


def test_an_operators_command_is_refused_since_the_rewards_count_the_tasks_own(tmp_path: Path) -> None:
    names = MAZE.observation_names
    followed = driven(tmp_path / "a.trace", [ENDED], commanded=names)
    assert collected(tmp_path / "a-v0", "--from-trace", str(followed)).lengths.tolist() == [TICKS]
    directed = driven(tmp_path / "b.trace", [ENDED], bend=0.5, commanded=names)
    with pytest.raises(ContractError, match=f"an operator's numbers for {names[0]}"):
        collect.main(["--from-trace", str(directed), "--out", str(tmp_path / "b-v0")])
