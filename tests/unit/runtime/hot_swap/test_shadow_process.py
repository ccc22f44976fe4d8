"""The shadow's process: actions from the same noise, and their divergence from the served ones."""

import io
import json
import math

import numpy as np
import pytest

from odeploy_runtime.hot_swap.divergence import HEAD, read_divergence, shadow_names
from odeploy_runtime.hot_swap.shadow_process import Comparison
from odeploy_runtime.inference.noise import NoiseSource
from odeploy_runtime.realtime.counters import Counters
from odeploy_runtime.testing import FakeClock
from tests.unit.runtime.fakes import FakePolicy, floats

S = 1_000_000_000
SENSED = (1.0, 2.0, 3.0)


class World:
    """Comparison with hand-made ticks; the limits of both actions are ±1, which is unit scale."""

    def __init__(self, clock: FakeClock) -> None:
        self.counters, self.out, self.clock = Counters(shadow_names(2)), io.StringIO(), clock
        self.comparison = Comparison(FakePolicy(), self.counters, self.out, clock)

    def tick(self, seq: int, *apart: float, epoch: int = 1, seed: int = 7) -> None:
        """Feed one tick whose served action differs by `apart` from the shadow's."""
        noise = NoiseSource(FakePolicy().manifest.noise, seed).draw(0, seq).reshape(-1)
        served = np.array(SENSED[:2], np.float32) + noise + np.array(apart, np.float32)
        self.comparison.tick(HEAD.pack(5, seed, 0, seq, epoch) + floats(*SENSED) + floats(*served))

    def lines(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.out.getvalue().splitlines()]


@pytest.fixture
def world(clock: FakeClock) -> World:
    return World(clock)


def test_equal_policies_with_the_same_noise_have_no_divergence(world: World) -> None:
    for seq in range(5):
        world.tick(seq, 0.0, 0.0)
    compared, mean, most = read_divergence(world.counters, 2)
    assert compared == 5
    assert mean == pytest.approx([0, 0], abs=1e-6)
    assert most == pytest.approx([0, 0], abs=1e-6)


def test_mean_and_largest_divergence_are_counted_for_each_signal(world: World) -> None:
    for seq, apart in enumerate([(0.5, 0.0), (-0.25, 0.1), (0.0, -0.3)]):
        world.tick(seq, *apart)
    compared, mean, most = read_divergence(world.counters, 2)
    assert compared == 3
    assert mean == pytest.approx([0.25, 0.4 / 3], abs=1e-6)
    assert most == pytest.approx([0.5, 0.3], abs=1e-6)


def test_another_served_policy_restarts_the_counts_and_the_first_ones_are_written_as_a_line(world: World) -> None:
    world.tick(0, 0.5, 0.0)
    world.tick(1, 0.0, 0.25, epoch=2)
    compared, _, most = read_divergence(world.counters, 2)
    assert compared == 1
    assert most == pytest.approx([0, 0.25], abs=1e-6)
    (line,) = world.lines()
    assert (line["policy_epoch"], line["compared"], line["shadow"]) == (1, 1, "f" * 64)
    assert line["max"] == pytest.approx({"motor_x": 0.5, "motor_y": 0.0}, abs=1e-6)


def test_a_line_is_written_each_second_and_at_the_end(world: World, clock: FakeClock) -> None:
    world.tick(0, 0.1, 0.0)
    for seq in range(1, 25):
        clock.ns += S // 10
        world.tick(seq, 0.1, 0.0)
    assert [line["compared"] for line in world.lines()] == [11, 21]
    world.comparison.end()
    assert [line["compared"] for line in world.lines()] == [11, 21, 25]


def test_a_shadow_that_returns_nan_has_the_largest_divergence(world: World) -> None:
    world.tick(0, math.nan, 0.0)
    _, _, most = read_divergence(world.counters, 2)
    assert most[0] > 1e9
    world.comparison.end()
    assert world.lines()[0]["max"] == {"motor_x": None, "motor_y": pytest.approx(0, abs=1e-6)}


def test_each_robots_seed_gives_its_own_noise(world: World) -> None:
    world.tick(0, 0.0, 0.0, seed=7)
    noise = NoiseSource(FakePolicy().manifest.noise, 8).draw(0, 1).reshape(-1)
    packet = HEAD.pack(6, 8, 0, 1, 1) + floats(*SENSED) + floats(*(np.array(SENSED[:2], np.float32) + noise))
    world.comparison.tick(packet)
    assert read_divergence(world.counters, 2).max == pytest.approx([0, 0], abs=1e-6)
