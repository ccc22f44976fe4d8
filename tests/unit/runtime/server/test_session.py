"""A session: whom it is for; and what a server remembers of each robot for a policy with a recipe."""

from typing import Any

import numpy as np
import pytest
import zmq

from odeploy_runtime.policy_file.manifest import Manifest, Noise
from odeploy_runtime.policy_file.recipe import Recipe, Term
from odeploy_runtime.server.sessions import contract_refusal
from odeploy_runtime.signals import Signal
from odeploy_runtime.testing import FakeClock
from odeploy_runtime.transport import messages as wire
from tests.unit.runtime.fakes import FakePolicy, FakeSelect, Floats, floats, hello, manifest
from tests.unit.runtime.server.test_loop import World

T = 10_000_000  # of a robot at 100 Hz
RAW = Signal("angle", "rad"), Signal("goal", "m")
HISTORY = Term("signals", ("angle",), (2, 1, 0))
NO_FLOW: dict[str, Any] = {"kind": "mlp", "sampler": None, "noise": Noise("none"), "golden": ()}


def said(*terms: Term, **changes: Any) -> Manifest:
    recipe = Recipe(RAW, terms)
    seen = recipe.observation(manifest().action)
    return manifest(**NO_FLOW, observation=seen, recipe=recipe, **changes)


class Witness(FakePolicy):
    """Answers the sum of what it sees, and keeps that."""

    def __init__(self, said: Manifest) -> None:
        super().__init__(said)
        self.seen: list[list[float]] = []

    def infer(self, observation: Floats, noise: Floats) -> Floats:
        self.seen.append(observation.tolist())
        return np.full((1, 2), observation.sum(), np.float32)


def test_a_robot_is_asked_for_the_raw_signals_and_not_for_what_is_made_of_them() -> None:
    robot = hello(observation=["angle", "goal"])
    assert contract_refusal(robot, said(HISTORY)) is None
    against = contract_refusal(robot._replace(observation=["angle_2_ago", "angle_1_ago", "angle"]), said(HISTORY))
    assert against is not None
    assert "missing goal" in against.reason


# ---- in a server


@pytest.fixture
def policy() -> Witness:
    return Witness(said(HISTORY, Term("action")))


@pytest.fixture
def world(
    context: "zmq.Context[zmq.Socket[bytes]]", clock: FakeClock, waiting: FakeSelect, policy: Witness
) -> Any:
    made = World(context, clock, policy)
    yield made
    made.close()


NAMES = ["angle", "goal"]


def test_robots_have_a_history_each(world: World, policy: Witness) -> None:
    peers = [world.peer(), world.peer()]
    readies = [world.welcome(peer, robot=f"robot {i}", observation=NAMES) for i, peer in enumerate(peers)]
    for seq in range(2):
        for i, (peer, ready) in enumerate(zip(peers, readies, strict=True)):
            world.observe(peer, ready, seq, values=floats(10 * i + seq, 0))
    assert policy.seen == [[0, 0, 0, 0, 0], [10, 10, 10, 0, 0], [0, 0, 1, 0, 0], [10, 10, 11, 30, 30]]


def test_an_observation_that_is_refused_is_in_no_history(world: World, policy: Witness) -> None:
    peer = world.peer()
    ready = world.welcome(peer, observation=NAMES)
    world.observe(peer, ready, 0, values=floats(1, 0))
    for values in (floats(np.nan, 0), floats(1, 2, 3)):
        assert isinstance(world.observe(peer, ready, 1, values=values), wire.Error)
    world.observe(peer, ready, 2, values=floats(3, 0))
    assert policy.seen[-1] == [1, 1, 3, 3, 3]


def test_a_streams_history_has_also_what_was_not_answered(world: World, policy: Witness) -> None:
    peer = world.peer()
    ready = world.welcome(peer, observation=NAMES, mode="stream")
    for seq in range(3):
        world.observe(peer, ready, seq, values=floats(seq, 0))
    world.let_pass(T // 2)
    assert policy.seen == [[0, 1, 2, 0, 0]]
    world.let_pass(T)  # the same again: nothing moves
    assert policy.seen == [[0, 1, 2, 0, 0]] * 2
