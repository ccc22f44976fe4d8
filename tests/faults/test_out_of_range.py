"""Observations out of a policy's range: flagged by signal, or rejected with `--refuse-far`."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
import zmq

from odeploy_export.graphs.tracing import to_bytes
from odeploy_runtime.policy_file.file import parse
from odeploy_runtime.realtime.child_process import child, python_module
from odeploy_runtime.realtime.clock import MonotonicClock
from odeploy_runtime.realtime.serving import wait_bound
from odeploy_runtime.robot.client import RobotClient
from odeploy_runtime.transport import messages
from odeploy_runtime.transport.link import DealerLink
from odeploy_sim.catalogue.multigoal import MULTIGOAL
from tests.policies import policy_bytes
from tests.unit.runtime.fakes import floats

CLOCK = MonotonicClock()
HELLO = messages.Hello(
    messages.PROTOCOL, "robot", MULTIGOAL.name, 25.0, 0, [*MULTIGOAL.observation_names], [*MULTIGOAL.action_names]
)
IN_RANGE, OUTSIDE = floats(0.5, 0.5), floats(0.5, 90.0)


@contextmanager
def robot(folder: Path, *options: str) -> Iterator[RobotClient]:
    """Connect to a server in a separate process, whose policy has the range [-1, 1] for both signals."""
    file = parse(folder / "p.onnx", policy_bytes(MULTIGOAL.name))
    with_ranges = replace(file.manifest, observed=((-1.0, 1.0),) * 2)
    file.path.write_bytes(to_bytes(onnx.load_from_string(file.data), with_ranges))
    socket, log = folder / "s.ipc", folder / "s.log"
    command = python_module("odeploy", "serve", str(file.path), "--endpoint", f"ipc://{socket}", *options)
    with child(command, log) as process, zmq.Context[zmq.Socket[bytes]]() as context:
        wait_bound(socket, process, log)
        with closing(RobotClient(DealerLink(context, f"ipc://{socket}", CLOCK), HELLO, CLOCK, 20.0)) as client:
            yield client
    assert "'robot': point_y is far outside what the policy was trained on" in log.read_text()


def statuses(client: RobotClient, *observations: bytes) -> list[int | None]:
    """Return the status of each answer; None for a tick without an action."""
    answers = [
        client.receive(0, seq, client.send(0, seq, values) + 10**10) for seq, values in enumerate(observations)
    ]
    return [None if answer is None else answer.message.status for answer in answers]


@pytest.mark.fault(9)
def test_an_observation_out_of_range_is_answered_flagged_and_named_in_the_log(tmp_path: Path) -> None:
    with robot(tmp_path) as client:
        assert statuses(client, IN_RANGE, OUTSIDE, IN_RANGE) == [messages.OK, messages.FAR, messages.OK]
        assert client.out_of_range == 1


@pytest.mark.fault(9)
def test_with_refuse_far_no_action_comes_and_the_error_names_the_signal(tmp_path: Path) -> None:
    with robot(tmp_path, "--refuse-far") as client:
        assert statuses(client, IN_RANGE, OUTSIDE, IN_RANGE) == [messages.OK, None, messages.OK]
        assert client.last_error == messages.Error(1, messages.FAR_OUTSIDE, "point_y")
