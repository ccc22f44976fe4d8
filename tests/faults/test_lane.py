"""Faults of the local lane: hostile peers on it, and a file that is not what it was.

Times are recorded, not asserted: the machine may be busy. Answers, refusals and memory growth are asserted.
"""

import json
import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from odeploy_runtime.errors import UnreachableError
from odeploy_runtime.robot.client import RobotClient
from odeploy_runtime.robot.connect import Transport, connect
from odeploy_runtime.transport import lane, messages
from odeploy_runtime.transport.address import lane_file
from odeploy_runtime.transport.messages import MAX_FRAME_BYTES
from tests.faults.fault_table import Record
from tests.faults.fuzz_wire import mutated
from tests.faults.test_hostile_peers import CLOCK, VALUES, Context, Served, drive, hello, percentiles, served

NOBODY = 65534


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path) as made:
        yield made


@pytest.fixture
def context() -> Iterator[Context]:
    with Context() as made:
        yield made
        made.destroy(linger=0)


def path_of(server: Served) -> Path:
    path = lane_file(server.endpoint)
    assert path is not None
    return path


def robot(server: Served, name: str = "robot", transport: Transport = "lane") -> RobotClient:
    link = connect(server.endpoint, CLOCK, transport=transport, timeout_s=20.0)
    return RobotClient(link, hello(name), CLOCK, 20.0)


@pytest.mark.fault(11, 41)
def test_mutated_frames_on_a_lane_leave_a_robot_on_another_and_the_memory_as_they_are(
    server: Served, record_property: Record
) -> None:
    rng, bombs = random.Random(3), [b"\xdd\xff\xff\xff\xff", b"\x91" * 60_000, b"\x81\xa1k" * 20_000]
    with closing(robot(server)) as client, lane.connect(path_of(server)) as hostile:
        hostile.setblocking(True)
        drive(client, 20)
        before = server.resident_kib()
        for number in range(20_000):
            frame = bombs[number // 100 % 3] if number % 100 == 0 else mutated(rng)
            if frame:  # an empty one would end the lane
                hostile.send(frame)
            if number % 500 == 0:
                drive(client, 1)
            while (answer := _waiting(hostile)) is not None:
                assert isinstance(
                    messages.unpack(answer),
                    messages.Error | messages.Refused | messages.Ready | messages.Health,
                )
        drive(client, 50)
        grown = server.resident_kib() - before
        assert grown < 10_240
    record_property("memory after 20,000 mutated frames, KiB", f"{grown:+}")


def _waiting(connection: socket.socket) -> bytes | None:
    """Return a reply that has arrived; require that the lane is open."""
    try:
        answer = connection.recv(MAX_FRAME_BYTES, socket.MSG_DONTWAIT)
    except BlockingIOError:
        return None
    assert answer
    return answer


@pytest.mark.fault(11, 41)
def test_a_frame_too_long_ends_its_own_lane_and_no_other(server: Served, context: Context) -> None:
    with closing(robot(server)) as client:
        for _ in range(20):
            with lane.connect(path_of(server)) as hostile:
                hostile.send(bytes(MAX_FRAME_BYTES + 1))
                drive(client, 3)
                assert lane.receive(hostile) == b""
        assert server.health(context).errors == 0  # none of them was decoded


FLOOD = """
import socket, sys
flood = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
flood.connect(sys.argv[1])
frame = bytes.fromhex(sys.argv[2])
print("connected", flush=True)
while True:
    flood.send(frame)
    try:
        while True:
            flood.recv(65536, socket.MSG_DONTWAIT)
    except BlockingIOError:
        pass
"""


@pytest.mark.faults
@pytest.mark.fault(14, 41)
def test_a_flood_on_a_lane_is_capped_and_robots_are_answered_each_tick(
    server: Served, context: Context, record_property: Record
) -> None:
    frame = messages.pack(messages.Observation(1, 0, 0, 0, VALUES)).hex()
    with closing(robot(server)) as client, closing(robot(server, "other", "zmq")) as other:
        drive(client, 50)
        quiet, before = drive(client, 200), server.resident_kib()
        command = [sys.executable, "-c", FLOOD, str(path_of(server)), frame]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as flooder:
            assert flooder.stdout is not None
            flooder.stdout.readline()
            loaded = drive(client, 200)
            health = server.health(context)
            on_zeromq = drive_again(other)
            flooder.kill()
        assert health.dropped > 1000
        assert server.resident_kib() - before < 10_240
    record_property("round trip on another lane, quiet", percentiles(quiet))
    record_property("round trip on another lane, under a flood", percentiles(loaded))
    record_property("round trip over ZeroMQ, under a flood", percentiles(on_zeromq))


def drive_again(client: RobotClient) -> list[float]:
    """Drive a robot whose session was freed meanwhile, in an episode of its own."""
    client.send(1, 0, VALUES)
    assert client.receive(1, 0, CLOCK.now_ns() + 20_000_000_000) is not None
    return drive(client, 50)


@pytest.mark.fault(41)
@pytest.mark.parametrize("fate", ["deleted", "a file", "a dead socket", "another user's"])
def test_a_lane_that_is_gone_or_replaced_leaves_its_robots_and_new_ones_take_zeromq(
    server: Served, fate: str
) -> None:
    path = path_of(server)
    with closing(robot(server)) as client:
        drive(client, 5)
        path.unlink()
        foreign = None
        if fate == "a file":
            path.write_text("")
        elif fate == "a dead socket":
            with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as dead:
                dead.bind(str(path))
        elif fate == "another user's":
            if os.geteuid() != 0:
                pytest.skip("needs another user's process")
            foreign = _listening_as_nobody(path)
        drive(client, 5)
        with closing(robot(server, "new", "auto")) as new:
            drive(new, 5)
        with pytest.raises(UnreachableError):
            connect(server.endpoint, CLOCK, transport="lane", timeout_s=0.1)
        drive(client, 5)
        assert client.drops.reconnects == 0
        if foreign is not None:
            foreign.kill()
            foreign.communicate()


def _listening_as_nobody(path: Path) -> "subprocess.Popen[bytes]":
    """Listen on a path as another user; return the process."""
    code = (
        "import os, socket, sys, time; s = socket.socket(1, 5); os.setegid(65534); s.bind(sys.argv[1]);"
        f"os.chmod(sys.argv[1], 0o666); os.setuid({NOBODY}); s.listen(); print(flush=True); time.sleep(600)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    return process


CROWD = """
import json, select, socket, sys, time, msgpack
path, hello, first, count = sys.argv[1], msgpack.unpackb(bytes.fromhex(sys.argv[2])), *map(int, sys.argv[3:])
lanes, kinds, deadline = [], {}, time.monotonic() + 60
for number in range(first, first + count):
    made = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    made.setblocking(False)
    while time.monotonic() < deadline:
        try:
            made.connect(path)
            break
        except BlockingIOError:  # the listener's queue is full
            time.sleep(0.01)
    made.send(msgpack.packb([*hello[:2], f"robot {number}", *hello[3:]]))
    lanes.append(made)
for made in lanes:
    made.settimeout(max(0.01, deadline - time.monotonic()))
    try:
        answer = made.recv(65536)
    except OSError:
        answer = b""
    kind = msgpack.unpackb(answer)[0] if answer else 0
    kinds[kind] = kinds.get(kind, 0) + 1
print(json.dumps(kinds), flush=True)
sys.stdin.read()
"""


@pytest.mark.faults
@pytest.mark.fault(14, 41)
def test_two_thousand_lanes_of_fifty_processes_get_answers_and_a_robot_is_answered_each_tick(
    server: Served, context: Context, record_property: Record
) -> None:
    processes, each = 50, 40
    frame, pipe = messages.pack(hello("")).hex(), subprocess.PIPE
    with closing(robot(server)) as client:
        began, quiet = time.monotonic(), drive(client, 100)
        crowd = [
            subprocess.Popen(
                [sys.executable, "-c", CROWD, str(path_of(server)), frame, str(i * each), str(each)],
                stdin=pipe,
                stdout=pipe,
            )
            for i in range(processes)
        ]
        loaded = drive(client, 500)
        answers: dict[str, int] = {}
        for process in crowd:
            assert process.stdout is not None
            for kind, count in json.loads(process.stdout.readline()).items():
                answers[kind] = answers.get(kind, 0) + count
            drive(client, 10)
        took_s, resident = time.monotonic() - began, server.resident_kib()
        for process in crowd:
            process.communicate()
        drive(client, 20)
        assert server.health(context).sessions == 1  # the ends of lanes are noticed at once
    assert answers == {"2": processes * each}  # Ready
    assert resident < 200 * 1024
    record_property("2,000 lanes opened within, s", round(took_s, 1))
    record_property("server's MiB", resident // 1024)
    record_property("round trip beside them", f"{percentiles(loaded)}; quiet {percentiles(quiet)}")
