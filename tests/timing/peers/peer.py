"""The peers: what serves, over which transport, in which environment, and their running processes."""

import contextlib
import json
import os
import select
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.timing.peers.tick import READY

HERE = Path(__file__).parents[3]
_PATHS = (HERE, HERE / "runtime")
_START_S = 60.0


@dataclass(frozen=True)
class Peer:
    """A way to serve the policy.

    Attributes:
        name: what serves it.
        transport: how observation and action travel.
        computes: what computes the action.
        module: module of this folder with its robot, and with its server if it has one here.
        packages: requirements of its own environment; empty to use odeploy's.
        address: `path`, `port` or empty without a server.
        provider: odeploy's execution provider; empty for others.
        link: odeploy's `--transport`; empty for others.
    """

    name: str
    transport: str
    computes: str
    module: str
    packages: tuple[str, ...] = ()
    address: str = "path"
    provider: str = ""
    link: str = ""

    @property
    def environment(self) -> str:
        """Name of the environment; empty for odeploy's."""
        return self.module if self.packages else ""


_ORT = "ONNX Runtime"
_OPENPI = "openpi-client", "openpi-server", "typing-extensions"  # the last one is imported, but not required
# Each names the versions that it needs: odeploy's own do not matter to it.
PEERS = (
    Peer("odeploy", "in process", "native", "odeploy_robot", address="", provider="native"),
    Peer("odeploy", "in process", _ORT, "odeploy_robot", address="", provider="cpu"),
    Peer("odeploy", "lane", "native", "odeploy_robot", provider="native", link="lane"),
    Peer("odeploy", "lane", _ORT, "odeploy_robot", provider="cpu", link="lane"),
    Peer("odeploy", "ZeroMQ", "native", "odeploy_robot", provider="native", link="zmq"),
    Peer("odeploy", "ZeroMQ", _ORT, "odeploy_robot", provider="cpu", link="zmq"),
    Peer("Unix socket, bare", "SOCK_SEQPACKET", _ORT, "raw_socket"),
    Peer("ZeroMQ, bare", "REQ/REP, ipc", _ORT, "plain_zmq"),
    Peer("gRPC, bare", "HTTP/2, Unix socket", _ORT, "plain_grpc", ("grpcio",)),
    Peer("zenoh", "TCP", _ORT, "zenoh_topics", ("eclipse-zenoh",), "port"),
    Peer("openpi", "WebSocket, TCP", _ORT, "openpi_websocket", _OPENPI, "port"),
    Peer("LeRobot, stub policy", "gRPC + pickle, TCP", _ORT, "lerobot_grpc", ("lerobot[async]",), "port"),
    Peer("torch, eager", "in process", "torch", "torch_eager", address=""),
)


class Robot:
    """A peer's robot process."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def turn(self, rate_hz: float, ticks: int) -> tuple[list[int], list[list[float]]]:
        """Run a turn; return the round trips [ns] and the first actions."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([rate_hz, ticks]) + "\n")
        self._process.stdin.flush()
        answered = json.loads(self._process.stdout.readline() or "null")
        if answered is None:
            raise RuntimeError(f"a robot ended with status {self._process.wait()}; its log says why")
        return answered["ns"], answered["actions"]


@contextlib.contextmanager
def running(peer: Peer, python: Path, file: Path, observation_size: int, folder: Path) -> Iterator[Robot]:
    """Run a peer's server and robot.

    Args:
        peer: the peer.
        python: interpreter of its environment.
        file: policy file.
        observation_size: O.
        folder: gets its socket and its logs.
    """
    label = "-".join(filter(None, (peer.module, peer.provider, peer.link or peer.address)))
    server_log, robot_log = folder / f"{label}-server.log", folder / f"{label}-robot.log"
    address = {"port": _free_port(), "path": str(folder / f"{label}.ipc"), "": "-"}[peer.address]
    module = [str(python), "-P", "-m", f"tests.timing.peers.{peer.module}"]
    with contextlib.ExitStack() as stack:
        if peer.address and peer.provider:
            bound, address = Path(address), f"ipc://{address}"
            serve = [str(python), "-P", "-m", "odeploy", "serve", str(file), "--endpoint", address]
            command = [*serve, "--provider", peer.provider]
            _wait_for(stack.enter_context(_process(command, server_log)), server_log, bound)
        elif peer.address:
            command = [*module, "serve", str(file), address, str(observation_size)]
            _wait_for(stack.enter_context(_process(command, server_log)), server_log)
        command = [*module, "robot", str(file), address, str(observation_size), peer.provider, peer.link]
        robot = stack.enter_context(_process(command, robot_log))
        _wait_for(robot, robot_log)
        yield Robot(robot)


@contextlib.contextmanager
def _process(command: list[str], log: Path) -> Iterator["subprocess.Popen[str]"]:
    inherited = os.environ.get("PYTHONPATH", "")
    environment = os.environ | {"PYTHONPATH": ":".join([*map(str, _PATHS), inherited]), "OMP_NUM_THREADS": "1"}
    with log.open("w") as errors:
        process = subprocess.Popen(
            command,
            env=environment,
            cwd=log.parent,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def _wait_for(process: "subprocess.Popen[str]", log: Path, bound: Path | None = None) -> None:
    """Wait until a process reports that it is ready, or has bound its socket."""
    if bound is not None:
        for _ in range(round(_START_S / 0.05)):
            if bound.exists() or process.poll() is not None:
                break
            select.select([], [], [], 0.05)
        ready = bound.exists()
    else:
        assert process.stdout is not None
        found = select.select([process.stdout], [], [], _START_S)[0]
        ready = bool(found) and process.stdout.readline().strip() == READY
    if not ready:
        raise RuntimeError(f"did not start: {_last_line(log)}")


def _last_line(log: Path) -> str:
    return (log.read_text().strip().splitlines() or ["no message"])[-1][:200]


def _free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])
