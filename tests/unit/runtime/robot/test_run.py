"""A run around a plant of one's own, with a policy file in the same process."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from odeploy_runtime.errors import ContractError, RefusedError, UsageError
from odeploy_runtime.policy_file.file import read
from odeploy_runtime.policy_file.recipe import Recipe, Term
from odeploy_runtime.robot.options import LoopOptions
from odeploy_runtime.robot.run import Scoring, run
from odeploy_runtime.signals import Signal
from odeploy_runtime.testing import FakeClock, FakePlant
from odeploy_runtime.trace.reader import read_trace
from tests.unit.runtime.fakes import manifest
from tests.unit.runtime.scaled_policy import scaled_bytes

MS = 1_000_000


class Mover(FakePlant):
    """A plant with the signals of `scaled_bytes`."""

    name = "maze-medium"
    observation = manifest().observation
    action = (Signal("motor_x", "N", -1.0, 1.0), Signal("motor_y", "N", -1.0, 0.5))
    safe_action = (0.0, 0.0)

    def observe(self) -> NDArray[np.float32]:
        return np.array([0.1 * self.tick, 0.1 * self.tick, 0], np.float32)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "p.onnx"
    path.write_bytes(scaled_bytes(2.0))
    return path


@pytest.fixture
def plant() -> Mover:
    return Mover(FakeClock())


def test_a_plant_is_driven_by_a_file_within_the_tighter_limits(tmp_path: Path, file: Path, plant: Mover) -> None:
    ended: list[int] = []
    path = run(plant, file, mode="lockstep", episodes=2, trace=tmp_path / "t.trace", ended=ended.append)
    trace = read_trace(path)
    wanted = 0.2 * np.arange(10)
    x = trace.rows["action"][:10, 0]
    np.testing.assert_allclose(x, np.minimum(wanted, 1.0), rtol=1e-6)  # the file's step of 0.25 does not bind
    np.testing.assert_allclose(trace.rows["action"][:10, 1], np.minimum(wanted, 0.5), rtol=1e-6)  # the plant's own
    assert ended == [0, 1]
    assert len(set(plant.seeds)) == 2
    assert not plant.closed
    header = trace.header
    assert (header.task, header.scored_by, header.rate_hz, header.task_rate_hz) == (
        "maze-medium",
        "return",
        100,
        100,
    )


def test_a_trace_names_the_signals_that_an_operator_can_set(tmp_path: Path, plant: Mover) -> None:
    names = manifest().observation_names
    recipe = Recipe(plant.observation, (Term("signals", names),), names[:1])
    file = tmp_path / "p.onnx"
    file.write_bytes(scaled_bytes(2.0, recipe=recipe))
    panel = LoopOptions(panel=tmp_path / "p.panel")
    traces = [
        read_trace(run(plant, file, mode="lockstep", trace=tmp_path / "t.trace", options=options))
        for options in (LoopOptions(), panel)
    ]
    assert [trace.header.commanded for trace in traces] == [(), names[:1]]


def test_in_real_time_commands_are_due_in_four_fifths_of_a_period_or_as_the_caller_says(
    tmp_path: Path, file: Path, plant: Mover
) -> None:
    headers = [
        read_trace(run(plant, read(file), trace=tmp_path / "t.trace", deadline_ns=deadline)).header
        for deadline in (None, lambda: 5 * MS)
    ]
    assert [header.deadline_ns for header in headers] == [8 * MS, 5 * MS]
    assert headers[0].mode == "realtime"


def test_the_score_is_the_callers(tmp_path: Path, file: Path, plant: Mover) -> None:
    scoring = Scoring(scored_by="success", noise_level=0.5)
    header = read_trace(run(plant, file, mode="lockstep", trace=tmp_path / "t.trace", scoring=scoring)).header
    assert (header.scored_by, header.noise_level) == ("success", 0.5)


def test_what_no_run_can_satisfy_is_refused_before_the_plant_moves(
    tmp_path: Path, file: Path, plant: Mover
) -> None:
    trace = tmp_path / "t.trace"
    with pytest.raises(UsageError, match="a server's endpoint"):
        run(plant, file, mode="stream", trace=trace)
    with pytest.raises(UsageError, match="a positive number of Hz"):
        run(plant, file, rate_hz=0, trace=trace)
    with pytest.raises(UsageError, match="--panel PATH"):
        run(plant, file, options=LoopOptions(dead_man=True), trace=trace)
    plant.name = "another"
    with pytest.raises(RefusedError, match="expected task 'maze-medium', got 'another'"):
        run(plant, file, mode="lockstep", trace=trace)
    plant.action = plant.action[::-1]
    with pytest.raises(ContractError, match="same names, another order"):
        run(plant, file, mode="lockstep", trace=trace)
    assert plant.seeds == []
    assert not trace.exists()
