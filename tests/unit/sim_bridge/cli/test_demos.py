"""`odeploy demos show`: the table agrees with card and data, and the picture shows the recorded episodes."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.collections import LineCollection

from odeploy_runtime.errors import ContractError, UsageError
from odeploy_sim.catalogue import TASKS
from odeploy_sim.catalogue.locomotion import ANT_GOAL, HOPPER
from odeploy_sim.catalogue.manipulation import HAND_ROTATE
from odeploy_sim.catalogue.mazes import MAZE_MEDIUM
from odeploy_sim.cli import collect, demos
from odeploy_sim.demonstrations.dataset import Demonstrations, load
from odeploy_sim.demonstrations.plots import draw
from odeploy_sim.tasks.task import Task


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sets") / "maze-v0"
    options = ["--episodes", "5", "--quality", "noisy:0.25", "--seed", "3"]
    collect.main(["maze-medium", *options, "--out", str(path)])
    return path


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")


def rows(printed: str) -> dict[str, str]:
    """Return the keys and values of a printed table."""
    cells = [[c.strip() for c in line.split("│")[1:3]] for line in printed.splitlines() if line.startswith("│")]
    return {key: value for key, value in cells if key}


def some(task: Task, successes: list[bool] | None, ticks: int = 6) -> Demonstrations:
    """Return episodes of random numbers."""
    episodes, generator = 4, np.random.default_rng(0)
    return Demonstrations(
        observations=generator.normal(size=(episodes * ticks, len(task.observation))).astype(np.float32),
        actions=np.zeros((episodes * ticks, len(task.action)), np.float32),
        starts=np.arange(episodes) * ticks,
        data_hash="0" * 64,
        returns=generator.normal(size=episodes),
        successes=None if successes is None else np.array(successes),
    )


def ways(figure: Any) -> list[Any]:
    """Return the paths drawn in the view from above."""
    return [
        line
        for axes in figure.axes
        for c in axes.collections
        if isinstance(c, LineCollection)
        for line in c.get_segments()
    ]


def test_the_table_agrees_with_the_card(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    demos.main([str(made)])
    table, card = rows(capsys.readouterr().out), json.loads((made / "card.json").read_text())
    loaded = load(str(made), MAZE_MEDIUM)
    assert table["quality"] == "noisy:0.25"
    assert table["seed"] == "3"
    assert table["data hash"] == card["data_hash"] == loaded.data_hash
    assert table["expert"] == "MazeExpert (scripted)"
    assert table["fingerprint"] == card["expert"]["fingerprint"]
    assert table["success"] == f"{card['success']:.3f}"
    assert table["episodes"] == f"5 of {loaded.lengths.min()} to {loaded.lengths.max()} ticks"
    assert card["processor"] == table["processor"]


def test_data_that_differ_from_the_card_are_reported(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    card = json.loads((made / "card.json").read_text())
    (tmp_path / "card.json").write_text(json.dumps(card | {"data_hash": "f" * 64}))
    (tmp_path / "data").symlink_to(made / "data")
    demos.main([str(tmp_path)])
    assert f"{card['data_hash']}, but the card has {'f' * 64}" in capsys.readouterr().out


def test_a_dataset_without_a_card_is_measured(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data").symlink_to(made / "data")
    demos.main([str(tmp_path)])
    printed = capsys.readouterr().out
    loaded = load(str(made), MAZE_MEDIUM)
    assert rows(printed)["transitions"] == f"{len(loaded.actions):,}"
    assert "quality" not in rows(printed)
    assert "no card" in printed


def test_a_dataset_without_a_task_requires_the_option(
    made: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demos, "stored_task", lambda _: None)
    with pytest.raises(UsageError, match="--task"):
        demos.main([str(made)])
    demos.main([str(made), "--task", "maze-medium"])
    assert "maze-medium" in capsys.readouterr().out
    with pytest.raises(ContractError, match="expected episodes of task hopper"):
        demos.main([str(made), "--task", "hopper"])


def test_a_picture_is_written_only_with_out(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    demos.main([str(made)])
    assert sorted(p.name for p in made.iterdir()) == ["card.json", "data"]
    demos.main([str(made), "--out", str(tmp_path / "pictures" / "maze.png")])
    assert (tmp_path / "pictures" / "maze.png").read_bytes().startswith(b"\x89PNG")
    assert "picture: " in capsys.readouterr().out


def test_drawn_paths_are_the_recorded_positions_of_each_episode(made: Path) -> None:
    loaded = load(str(made), MAZE_MEDIUM)
    drawn = ways(draw("maze", MAZE_MEDIUM, loaded))
    assert len(drawn) == 5
    for way, episode in zip(drawn, np.split(loaded.observations, loaded.starts[1:]), strict=True):
        np.testing.assert_array_equal(way, episode[:, :2])


def test_the_drawn_path_is_the_blocks_if_there_is_one() -> None:
    names = ("gripper_x", "gripper_y", "gripper_z", "block_x", "block_y", "goal_x", "goal_y")
    signals = tuple(dataclasses.replace(MAZE_MEDIUM.observation[0], name=name) for name in names)
    task = dataclasses.replace(MAZE_MEDIUM, observation=signals)
    episodes = some(task, [True] * 4)
    np.testing.assert_array_equal(ways(draw("pick", task, episodes))[0], episodes.observations[:6, 3:5])


@pytest.mark.parametrize(
    ("task", "drawn"), [(ANT_GOAL, 4), (HAND_ROTATE, 0), (HOPPER, 0)], ids=lambda t: getattr(t, "name", "")
)
def test_paths_are_drawn_for_tasks_with_a_goal_position(task: Task, drawn: int) -> None:
    assert len(ways(draw("set", task, some(task, None)))) == drawn


@pytest.mark.parametrize("successes", [None, [True] * 4, [False] * 4, [True, False, True, True]])
def test_histograms_count_solved_and_failed_episodes(successes: list[bool] | None) -> None:
    figure = draw("set", HOPPER, some(HOPPER, successes))
    for axes in figure.axes:
        assert sum(bar.get_height() for bar in axes.patches) == 4  # type: ignore[attr-defined]


def test_every_catalogued_task_has_a_picture() -> None:
    for task in TASKS.values():
        assert len(draw("set", task, some(task, [True] * 4)).axes) in (2, 3)
