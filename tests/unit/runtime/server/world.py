"""One server and its robots, with sockets in one process and a simulated clock."""

from typing import Any

import zmq

from odeploy_runtime.hot_swap.slot import PolicySlot
from odeploy_runtime.realtime.counters import SERVER, Counters
from odeploy_runtime.server.options import ServerOptions
from odeploy_runtime.testing import FakeClock
from odeploy_runtime.transport import messages
from odeploy_runtime.transport.sockets import bind_router
from tests.unit.runtime.fakes import FakePolicy, Peer, floats, hello, served

ENDPOINT = "inproc://server"
MS = 1_000_000
T = 10 * MS  # period of a robot at 100 Hz
VALUES = floats(1.0, 2.0, 3.0)


class World:
    """One server and its robots."""

    def __init__(
        self,
        context: "zmq.Context[zmq.Socket[bytes]]",
        clock: FakeClock,
        policy: FakePolicy | None = None,
        pre_touch: bool = False,
        **options: Any,
    ) -> None:
        self.context, self.clock = context, clock
        self.policy = FakePolicy() if policy is None else policy
        self.peers: list[Peer] = []
        self.socket = bind_router(context, ENDPOINT)
        self.counters = Counters(SERVER)
        self.slot = PolicySlot(self.policy)
        given = ServerOptions(pre_touch=pre_touch, **options)
        self.server = served(self.socket, self.slot, clock, given, self.counters)

    def peer(self) -> Peer:
        self.peers.append(Peer(self.context, ENDPOINT))
        return self.peers[-1]

    def close(self) -> None:
        for socket in (self.socket, *(peer.socket for peer in self.peers)):
            socket.close()

    def request(self, peer: Peer, message: messages.Message | bytes) -> messages.Message | None:
        """Send a message, give the server one turn, and return its reply."""
        peer.send(message)
        self.server.turn()
        return peer.receive()

    def welcome(self, peer: Peer, **changes: Any) -> messages.Ready:
        ready = self.request(peer, hello(**changes))
        assert isinstance(ready, messages.Ready)
        return ready

    def observe(
        self, peer: Peer, ready: messages.Ready, seq: int = 0, episode: int = 0, values: bytes = VALUES
    ) -> messages.Message | None:
        return self.request(peer, messages.Observation(ready.session, episode, seq, self.clock.ns, values))

    def let_pass(self, ns: int) -> None:
        """Give the server turns until `ns` have passed; no message may wait."""
        until = self.clock.ns + ns
        while self.clock.ns < until:
            self.server.turn()


def refusal(answer: messages.Message | None) -> str:
    assert isinstance(answer, messages.Refused)
    assert "\n" not in answer.reason
    return answer.reason


def streaming(world: World) -> tuple[Peer, messages.Ready, int]:
    """Open a stream with one observation; return the robot, its session and the observation's time [ns]."""
    peer = world.peer()
    ready = world.welcome(peer, mode="stream")
    at_ns = world.clock.ns
    assert world.observe(peer, ready, 0) is None
    return peer, ready, at_ns


def stamps(peer: Peer) -> list[tuple[int, int]]:
    """Return (number, start of inference [ns]) of all received actions."""
    received = []
    while (message := peer.receive()) is not None:
        assert isinstance(message, messages.Action)
        received.append((message.seq, message.started_ns))
    return received
