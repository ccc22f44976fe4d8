"""A session: one tick, and each robot's history for a policy with a recipe."""

from typing import Any

import numpy as np
import pytest
import zmq

from odeploy_runtime.inference.policy_state import PolicyState
from odeploy_runtime.policy_file.manifest import Manifest, Noise
from odeploy_runtime.policy_file.recipe import Recipe, Term
from odeploy_runtime.server.observation_range import ObservationRange
from odeploy_runtime.server.session import Served, Session
from odeploy_runtime.signals import Signal
from odeploy_runtime.testing import FakeClock
from odeploy_runtime.transport import messages
from tests.unit.runtime.fakes import FakePolicy, FakeSelect, Floats, floats, hello, manifest
from tests.unit.runtime.server.world import World

T = 10_000_000  # period of a robot at 100 Hz
RAW = Signal("angle", "rad"), Signal("goal", "m")
HISTORY = Term("signals", ("angle",), (2, 1, 0))
NO_FLOW: dict[str, Any] = {"kind": "mlp", "sampler": None, "noise": Noise("none"), "golden": ()}


def with_recipe(*terms: Term, **changes: Any) -> Manifest:
    recipe = Recipe(RAW, terms)
    seen = recipe.observation(manifest().action)
    return manifest(**NO_FLOW, observation=seen, recipe=recipe, **changes)


class Witness(FakePolicy):
    """Policy that returns the sum of its observation and records it."""

    def __init__(self, described: Manifest) -> None:
        super().__init__(described)
        self.seen: list[list[float]] = []

    def infer(self, observation: Floats, noise: Floats) -> Floats:
        self.seen.append(observation.tolist())
        return np.full((1, 2), observation.sum(), np.float32)


@pytest.fixture
def policy() -> Witness:
    return Witness(with_recipe(HISTORY, Term("action")))


@pytest.fixture
def world(
    context: "zmq.Context[zmq.Socket[bytes]]", clock: FakeClock, waiting: FakeSelect, policy: Witness
) -> Any:
    made = World(context, clock, policy)
    yield made
    made.close()


NAMES = ["angle", "goal"]


def test_each_robot_has_its_own_history(world: World, policy: Witness) -> None:
    peers = [world.peer(), world.peer()]
    readies = [world.welcome(peer, robot=f"robot {i}", observation=NAMES) for i, peer in enumerate(peers)]
    for seq in range(2):
        for i, (peer, ready) in enumerate(zip(peers, readies, strict=True)):
            world.observe(peer, ready, seq, values=floats(10 * i + seq, 0))
    assert policy.seen == [[0, 0, 0, 0, 0], [10, 10, 10, 0, 0], [0, 0, 1, 0, 0], [10, 10, 11, 30, 30]]


def test_a_refused_observation_is_in_no_history(world: World, policy: Witness) -> None:
    peer = world.peer()
    ready = world.welcome(peer, observation=NAMES)
    world.observe(peer, ready, 0, values=floats(1, 0))
    for values in (floats(np.nan, 0), floats(1, 2, 3)):
        assert isinstance(world.observe(peer, ready, 1, values=values), messages.Error)
    world.observe(peer, ready, 2, values=floats(3, 0))
    assert policy.seen[-1] == [1, 1, 3, 3, 3]


def test_a_streams_history_includes_unanswered_observations(world: World, policy: Witness) -> None:
    peer = world.peer()
    ready = world.welcome(peer, observation=NAMES, mode="stream")
    for seq in range(3):
        world.observe(peer, ready, seq, values=floats(seq, 0))
    world.let_pass(T // 2)
    assert policy.seen == [[0, 1, 2, 0, 0]]
    world.let_pass(T)  # the same observation again: the history is unchanged
    assert policy.seen == [[0, 1, 2, 0, 0]] * 2


# ---- one tick


class Recorded(FakePolicy):
    """Policy that records the order of a tick's calls."""

    calls: list[str]

    def infer(self, observation: Floats, noise: Floats) -> Floats:
        self.calls.append("infer")
        return super().infer(observation, noise)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    made: list[str] = []

    def recorded(name: str, method: Any) -> Any:
        def call(*arguments: Any) -> Any:
            made.append(name)
            return method(*arguments)

        return call

    for name in ("prepare", "commit"):
        monkeypatch.setattr(PolicyState, name, recorded(name, getattr(PolicyState, name)))
    return made


def session_of(policy: FakePolicy) -> tuple[Session, Served]:
    manifest = policy.manifest
    opened = Session(b"robot", 5, hello(), PolicyState(manifest, 7), 0)
    return opened, Served(policy, 3, ObservationRange(manifest), refuse_out_of_range=True)


def observation(*values: float) -> messages.Observation:
    return messages.Observation(5, 0, 1, 0, floats(*values))


def test_a_tick_calls_the_policy_state_and_the_policy_once_each_in_order(
    calls: list[str], clock: FakeClock
) -> None:
    policy = Recorded(manifest(kind="recurrent", noise=Noise("none"), sampler=None, golden=(), state_size=1))
    policy.calls, policy.answer = calls, np.array([[0.5, -0.5]], np.float32)
    session, served = session_of(policy)
    answer = session.answer(observation(0, 0, 0), served, clock.ns, clock)
    assert isinstance(answer, messages.Action)
    assert (answer.policy_epoch, answer.values) == (3, floats(0.5, -0.5))
    assert calls == ["prepare", "infer", "commit"]
    session.answer(observation(0, 0, 0), served, clock.ns, clock, commit=False)
    assert calls[3:] == ["prepare", "infer"]


@pytest.mark.parametrize(
    ("values", "code", "made"),
    [
        ((0, 0), messages.WRONG_LENGTH, []),
        ((0, np.nan, 0), messages.NOT_FINITE, []),
        ((0, 90, 0), messages.FAR_OUTSIDE, ["prepare"]),
    ],
)
def test_a_refused_tick_infers_and_commits_nothing(
    calls: list[str], clock: FakeClock, values: tuple[float, ...], code: int, made: list[str]
) -> None:
    policy = Recorded(manifest(observed=((-1.0, 1.0),) * 3))
    policy.calls = calls
    session, served = session_of(policy)
    answer = session.answer(observation(*values), served, clock.ns, clock)
    assert isinstance(answer, messages.Error)
    assert (answer.seq, answer.code, calls) == (1, code, made)
