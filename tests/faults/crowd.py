"""Clients that take more than their share: `python -m tests.faults.crowd KIND ENDPOINT COUNT SECONDS [HZ]`.

`silent` keeps connections open and sends nothing. `streams` asks for streams at a rate, again after each refusal.
Prints how many it got, as JSON.
"""

import contextlib
import itertools
import json
import select
import socket
import sys
import time

import numpy as np
import zmq

from odeploy_runtime.transport import messages
from odeploy_runtime.transport.sockets import connect_dealer
from odeploy_sim.catalogue.mazes import MAZE_MEDIUM

VALUES = messages.to_bytes(np.zeros(len(MAZE_MEDIUM.observation), np.float32))
_AGAIN_S = 0.5


def silent(endpoint: str, count: int, seconds: float) -> dict[str, int]:
    """Hold silent connections, and replace those that the server closes."""
    scheme, _, address = endpoint.partition("://")
    host, _, port = address.rpartition(":")
    opened: list[socket.socket] = []
    refused, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        if len(opened) < count:
            client = socket.socket(socket.AF_UNIX if scheme == "ipc" else socket.AF_INET)
            client.settimeout(0.5)
            try:
                client.connect(address if scheme == "ipc" else (host, int(port)))
                opened.append(client)
            except OSError:
                client.close()
                refused += 1
                time.sleep(0.002)
        else:
            time.sleep(0.01)
        if len(opened) % 100 == 0:
            opened = [each for each in opened if not _closed(each)]
    return {"refused": refused}


def _closed(client: socket.socket) -> bool:
    """Return whether the server has closed a connection; read its greeting before."""
    poll = select.poll()
    poll.register(client, select.POLLIN)
    with contextlib.suppress(OSError):
        while poll.poll(0):
            if not client.recv(4096):
                client.close()
                return True
    return False


def streams(endpoint: str, count: int, seconds: float, hz: float) -> dict[str, int]:
    """Ask for streams twice a second each, and keep alive those that are admitted."""
    names = list(MAZE_MEDIUM.observation_names), list(MAZE_MEDIUM.action_names)
    refusals, actions, end = 0, 0, time.monotonic() + seconds
    with zmq.Context() as context, contextlib.ExitStack() as stack:
        peers = [stack.enter_context(connect_dealer(context, endpoint)) for _ in range(count)]
        sessions: dict[int, int] = {}
        for number in itertools.cycle(range(count)):
            if time.monotonic() > end:
                break
            peer = peers[number]
            while peer.poll(0):
                answer = messages.unpack(bytes(peer.recv()))
                refusals += isinstance(answer, messages.Refused)
                actions += isinstance(answer, messages.Action)
                if isinstance(answer, messages.Ready):
                    sessions[number] = answer.session
            with contextlib.suppress(zmq.Again):
                peer.send(messages.pack(_message(number, sessions.get(number), names, hz)), zmq.NOBLOCK)
            time.sleep(_AGAIN_S / count)
        context.destroy(linger=0)
    return {"admitted": len(sessions), "refusals": refusals, "actions": actions}


def _message(number: int, session: int | None, names: tuple[list[str], list[str]], hz: float) -> messages.Message:
    """Return what a hostile robot sends next: few messages, for many answers."""
    if session is not None:
        return messages.Observation(session, 0, 0, 0, VALUES)
    name = f"stream {number}"
    return messages.Hello(messages.PROTOCOL, name, MAZE_MEDIUM.name, hz, 0, *names, mode="stream")


if __name__ == "__main__":
    kind, endpoint, count, seconds = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
    if kind == "streams":
        print(json.dumps(streams(endpoint, count, seconds, float(sys.argv[5]))))
    else:
        print(json.dumps(silent(endpoint, count, seconds)))
