"""odeploy's own robot: its client with pre-touch, as in the loop of `odeploy sim`."""

import os
import sys
from pathlib import Path
from typing import get_args

from odeploy_runtime.policy_file.file import PolicyFile, read
from odeploy_runtime.realtime.pretouch import PreTouch
from odeploy_runtime.robot.client import RobotClient
from odeploy_runtime.robot.connect import Transport, connect
from odeploy_runtime.transport import messages
from tests.timing.peers.tick import CLOCK, Floats, drive

_TIMEOUT_S, _S = 5.0, 1_000_000_000
_FIRST_GUESS_NS = 10_000


class Robot:
    """The robot's end: a session per turn."""

    def __init__(self, file: PolicyFile, address: str, provider: str, transport: Transport) -> None:
        self._policy: str | PolicyFile = address if "://" in address else file
        self._manifest, self._provider, self._transport = file.manifest, provider, transport
        self._turn = 0
        self._values = bytes(4 * len(file.manifest.observation))

    def begin(self, rate_hz: float) -> None:
        """Open a session."""
        m, self._turn, self._seq = self._manifest, self._turn + 1, 0
        names = list(m.raw_names), list(m.action_names)
        hello = messages.Hello(messages.PROTOCOL, f"peer-{os.getpid()}-{self._turn}", m.task, rate_hz, 0, *names)
        link = connect(
            self._policy, CLOCK, transport=self._transport, provider=self._provider, timeout_s=_TIMEOUT_S
        )
        self._client = RobotClient(link, hello, CLOCK, _TIMEOUT_S)
        self._touch = PreTouch(_FIRST_GUESS_NS, CLOCK)

    def before(self, due_ns: int, period_ns: int) -> None:
        """Touch the code and data of a tick."""
        begin_ns = self._touch.begin_ns(due_ns, period_ns)
        if begin_ns is not None and begin_ns > CLOCK.now_ns():
            CLOCK.sleep_until_ns(begin_ns)
            self._touch.run(lambda: self._client.touch(self._values))

    def answer(self, observation: Floats) -> Floats:
        """Send the observation; wait for the action."""
        sent_ns = self._client.send(0, self._seq, messages.to_bytes(observation))
        arrival = self._client.receive(0, self._seq, sent_ns + _S)
        assert arrival is not None
        self._seq += 1
        action: Floats = arrival.values[0]
        return action

    def end(self) -> None:
        """Close the session."""
        self._client.close()


if __name__ == "__main__":
    _, policy, address, size, provider, transport = sys.argv[1:7]
    known = {name: name for name in get_args(Transport)}
    drive(Robot(read(Path(policy)), address, provider, known.get(transport, "auto")), int(size))
