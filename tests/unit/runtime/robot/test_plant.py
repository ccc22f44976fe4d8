"""A plant with some signals set by the operator, and the test doubles of a robot and its server."""

from pathlib import Path

import numpy as np

from odeploy_runtime.realtime.pretouch import PreTouch
from odeploy_runtime.robot.client import RobotClient
from odeploy_runtime.robot.loop import ControlLoop, Pace
from odeploy_runtime.robot.plant import CommandedPlant, Plant
from odeploy_runtime.safety.guard import Guard
from odeploy_runtime.safety.operator_panel import Panel
from odeploy_runtime.safety.states import Safety
from odeploy_runtime.testing import FakeClock, FakeLink, FakePlant
from odeploy_runtime.trace.format import APPLIED, HELD, STAMPS, Trace, new_header
from odeploy_runtime.trace.reader import read_trace
from odeploy_runtime.trace.writer import TraceWriter
from odeploy_runtime.transport import messages

MS = 1_000_000


def driven(path: Path, clock: FakeClock, plant: Plant, link: FakeLink) -> Trace:
    """Run one episode in real time with a real client."""
    observed, acted = ([signal.name for signal in signals] for signals in (plant.observation, plant.action))
    hello = messages.Hello(messages.PROTOCOL, "arm", "toy", plant.rate_hz, 1, observed, acted)
    client = RobotClient(link, hello, clock, timeout_s=1.0)
    header = new_header(
        task="toy",
        scored_by="success",
        mode="realtime",
        rate_hz=plant.rate_hz,
        task_rate_hz=plant.rate_hz,
        deadline_ns=8 * MS,
        seed=1,
        policy=client.ready.policy,
        fingerprint=client.ready.fingerprint,
        observation=tuple(plant.observation),
        action=tuple(plant.action),
        obtained={},
    )
    trace = TraceWriter(path, header, 64)
    guard = Guard(tuple(plant.action), np.array(plant.safe_action, np.float32), Safety(plant.rate_hz))
    pace = Pace(clock, plant.rate_hz, 8 * MS, PreTouch(10_000, clock))
    ControlLoop(plant, client, guard, trace, pace).run_episode("realtime", 0, seed=5)
    client.close()
    trace.close()
    return read_trace(path)


def test_a_custom_plant_is_driven_through_a_real_client_by_a_function(tmp_path: Path) -> None:
    clock = FakeClock()
    plant, link = FakePlant(clock), FakeLink(clock, lambda seen: np.array([[0.01 * seen[0], 0.5]], np.float32))
    rows = driven(tmp_path / "t.trace", clock, plant, link).rows
    assert set(rows["kind"]) == {APPLIED}
    assert [message.seq for message in link.observations] == list(range(10))
    np.testing.assert_allclose(plant.commands, [[0.01 * tick, 0.5] for tick in range(10)], rtol=1e-6)
    assert set(rows["age_ns"]) == {MS // 2}


def test_an_answer_after_the_deadline_is_a_miss(tmp_path: Path) -> None:
    clock = FakeClock()
    plant = FakePlant(clock)
    link = FakeLink(clock, lambda seen: np.full((1, 2), 0.5, np.float32), takes_ns=9 * MS)
    rows = driven(tmp_path / "t.trace", clock, plant, link).rows
    assert rows["kind"][0] == HELD
    assert plant.commands[0] == [0.0, -1.0]


def test_a_tick_observes_the_plant_after_it_woke_up(tmp_path: Path) -> None:
    """The effect of the last command is one period old by then."""

    class MovingPlant(FakePlant):
        def observe(self) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
            return np.array([self.clock.ns % 1_000_000_000 // MS, 0], np.float32)

    clock = FakeClock()
    link = FakeLink(clock, lambda seen: np.zeros((1, 2), np.float32))
    rows = driven(tmp_path / "t.trace", clock, MovingPlant(clock), link).rows
    np.testing.assert_array_equal(rows["observation"][:, 0], rows["stamps"][:, 1] % 1_000_000_000 // MS)


def test_a_plant_on_its_own_clock_is_sensed_at_most_a_millisecond_before_observed(tmp_path: Path) -> None:
    """A driver samples every millisecond, off the loop's grid; each tick acts on its newest sample."""

    class SampledPlant(FakePlant):
        def observe(self) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
            self.clock.ns += 50_000  # reading it takes a while
            sampled_ns = (self.clock.ns - 300_000) // MS * MS + 300_000
            ages_ns.append(self.clock.ns - sampled_ns)
            return np.array([sampled_ns % 1_000_000_000 // MS, 0], np.float32)

    ages_ns: list[int] = []
    clock = FakeClock()
    link = FakeLink(clock, lambda seen: np.zeros((1, 2), np.float32))
    rows = driven(tmp_path / "t.trace", clock, SampledPlant(clock), link).rows
    observed_ns = rows["stamps"][:, STAMPS.index("observed")]
    sampled_ms = observed_ns % 1_000_000_000 // MS - rows["observation"][:, 0]
    assert set(sampled_ms) <= {0, 1}
    assert 0 <= min(ages_ns) <= max(ages_ns) < MS


def test_the_operators_numbers_replace_their_signals(tmp_path: Path) -> None:
    clock = FakeClock()
    inside, panel = FakePlant(clock), Panel(tmp_path / "p.panel", False, clock)
    plant: Plant = CommandedPlant(inside, panel, ["seed"])
    plant.reset(5)
    np.testing.assert_array_equal(plant.observe(), [0, 5])
    panel.command = (0.25,)
    plant.apply(np.zeros(2, np.float32))
    np.testing.assert_array_equal(plant.observe(), [1, 0.25])
    np.testing.assert_array_equal(inside.observe(), [1, 5])
    assert plant.outcome() == inside.outcome()
    assert (plant.observation, plant.action) == (inside.observation, inside.action)
    assert (plant.safe_action, plant.horizon, plant.rate_hz) == (inside.safe_action, 10, 100.0)
    plant.close()
    panel.close()
    assert inside.closed
