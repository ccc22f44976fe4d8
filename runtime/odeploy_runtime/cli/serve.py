"""`odeploy serve FILE`: the inference server as a program."""

import contextlib
import logging
import resource
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import tyro
import zmq

from odeploy_runtime.errors import UsageError
from odeploy_runtime.hot_swap.control_socket import ControlSocket, control_path
from odeploy_runtime.hot_swap.slot import PolicySlot
from odeploy_runtime.hot_swap.swapper import Swapper
from odeploy_runtime.inference.policy import load_policy
from odeploy_runtime.logging_options import LogOptions, configure
from odeploy_runtime.policy_file.file import PolicyFile, read
from odeploy_runtime.realtime.clock import MonotonicClock
from odeploy_runtime.realtime.counters import SERVER, Counters
from odeploy_runtime.realtime.scheduling import RealTimeOptions, pinned, real_time
from odeploy_runtime.server.log import RateLimit
from odeploy_runtime.server.loop import Server
from odeploy_runtime.server.options import ServerOptions
from odeploy_runtime.server.service import Service
from odeploy_runtime.transport.curve_auth import Doorkeeper
from odeploy_runtime.transport.keys import KeyPair, read_allowed, read_pair
from odeploy_runtime.transport.sockets import DEFAULT_ENDPOINT, bind_router, send_at_once

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Config(LogOptions, RealTimeOptions):
    """Serves a policy file's actions to robots over ZeroMQ, until Ctrl-C or SIGTERM."""

    file: Annotated[Path, tyro.conf.Positional]
    """A policy file."""
    endpoint: str = DEFAULT_ENDPOINT
    """Where to listen: `ipc:///path` or `tcp://127.0.0.1:port`; with keys also `tcp://address:port`."""
    provider: str = "cpu"
    """ONNX Runtime's `cpu`, `cuda`, `tensorrt` or `openvino`, where a silent fallback is an error; or `native`, a
    program that this machine's C compiler makes of the file."""
    pre_touch: bool = True
    """Run two dummy inferences shortly before each expected observation."""
    key: Path | None = None
    """This server's secret key, which `odeploy keys` made: all is encrypted, and `--allow` says for whom."""
    allow: Path | None = None
    """Folder with the public keys of the robots that may connect, NAME.key; it is read at the start."""
    insecure: bool = False
    """Listen beyond this machine without keys: whoever reaches the port can read, alter and use everything."""
    max_rate: float = ServerOptions.max_rate_hz
    """Messages a second of one connection that are looked at; the rest is dropped and counted."""
    far: float = ServerOptions.out_of_range_widths
    """Flag an observation with a signal beyond the range that the policy was exported with, by more than so many
    times that range: it is answered, counted, and named in the log."""
    refuse_far: bool = False
    """Answer such an observation with an error: the robot holds its last command, and stops if it goes on."""
    require_signed: Path | None = None
    """Folder with public keys, NAME.sign: serve only a file that one of them has signed."""
    control: Path | None = None
    """Where `odeploy swap`, `rollback` and `shadow` reach this server: a socket for this user of this machine
    alone. Without it PATH.control of an endpoint ipc://PATH, and no such socket of any other endpoint."""
    http: str | None = None
    """Report health and counters over HTTP: `PORT` on loopback, or `HOST:PORT`; /live, /ready, /metrics."""

    def server_options(self) -> ServerOptions:
        """Return what the server itself has to know."""
        return ServerOptions(
            max_rate_hz=self.max_rate,
            pre_touch=self.pre_touch,
            out_of_range_widths=self.far,
            refuse_out_of_range=self.refuse_far,
        )


def main(arguments: list[str]) -> None:
    """Loads, proves and serves a policy file."""
    config = tyro.cli(Config, args=arguments, prog="odeploy serve")
    keys = _keys(config)
    config.require_possible()
    if not 1 <= config.max_rate <= 1e6:
        raise UsageError(
            where="--max-rate",
            expected="1 to 1,000,000 messages a second",
            got=f"{config.max_rate:g}",
            remedy=f"leave it out for {ServerOptions.max_rate_hz:g}",
        )
    if not config.far >= 0:
        raise UsageError(where="--far", expected="0 or more", got=f"{config.far:g}", remedy="give for example 1")
    clock = MonotonicClock()
    configure(config).addFilter(RateLimit(clock))
    file = read(config.file)
    signer = _signer(file, config)
    policy = load_policy(file, config.provider)
    with contextlib.ExitStack() as stack:
        counters = _counters(config, stack)
        context = stack.enter_context(zmq.Context[zmq.Socket[bytes]]())
        context.socket(zmq.PAIR).close()  # begins its I/O threads, which a priority is for too
        obtained = stack.enter_context(real_time(config.priority))
        door = None
        if keys is not None:
            say = logging.getLogger(Doorkeeper.__module__).warning
            door = stack.enter_context(contextlib.closing(Doorkeeper(context, keys[1], counters, say)))
        _allow_many_connections()
        socket = bind_router(context, config.endpoint, None if keys is None else keys[0], config.insecure)
        stack.callback(socket.close, linger=100)
        if door is not None:
            door.watch(socket)
        m = policy.manifest
        log.info(
            f"serving {m.name} ({m.method}, {m.sampler_label}) for {m.task} at {config.endpoint}; "
            f"fingerprint {policy.fingerprint[:12]}, {signer}golden rows within {policy.golden_error:.1e}, "
            f"{policy.provider}, " + ", ".join(f"{k} {v}" for k, v in obtained.items()),
            extra={"policy": m.name, "fingerprint": policy.fingerprint, "endpoint": config.endpoint},
        )
        log.log(logging.WARNING if config.insecure else logging.INFO, _privacy(config, keys))
        slot, send = PolicySlot(policy), partial(send_at_once, socket)
        service = Service(slot, config.server_options(), clock, counters, send)
        server = Server(socket, service, clock, counters, door)
        control = config.control or control_path(config.endpoint)
        if control is not None:
            swapper = Swapper(slot, config.provider, config.require_signed, counters, clock)
            stack.enter_context(contextlib.closing(swapper))
            stack.enter_context(contextlib.closing(ControlSocket(control, swapper.answer)))
        with pinned(config.core):
            server.run()


def _keys(config: Config) -> tuple[KeyPair, dict[bytes, str]] | None:
    """This server's pair, and who may connect."""
    if (config.key is None) != (config.allow is None):
        raise UsageError(
            where="--key, --allow",
            expected="both: the server's own key, and those of the robots that may connect",
            got="--key alone" if config.allow is None else "--allow alone",
            remedy="give for example --key keys/server.key_secret --allow keys/robots",
        )
    if config.key is None or config.allow is None:
        return None
    if config.insecure:
        raise UsageError(
            where="--insecure",
            expected="no keys, or no --insecure",
            got="both",
            remedy="leave --insecure out",
        )
    return read_pair(config.key), read_allowed(config.allow)


def _privacy(config: Config, keys: tuple[KeyPair, dict[bytes, str]] | None) -> str:
    """What protects this server, in one line."""
    if keys is not None:
        return f"encrypted, for {len(keys[1])} keys: {', '.join(sorted(keys[1].values()))}"
    if config.insecure:
        return (
            f"INSECURE: whoever reaches {config.endpoint} can read, alter and use everything; nothing is encrypted"
        )
    return "not encrypted: for this machine alone"


def _signer(file: PolicyFile, config: Config) -> str:
    if config.require_signed is None:
        return ""
    from odeploy_runtime.policy_file.signature import require_signed

    return f"signed by {require_signed(file, config.require_signed)}, "


def _counters(config: Config, stack: contextlib.ExitStack) -> Counters:
    if config.http is None:
        return Counters(SERVER)
    from odeploy_runtime.realtime.http_metrics import reported

    return stack.enter_context(reported(config.http, SERVER))


def _allow_many_connections() -> None:
    """Each connection takes a descriptor, and the usual 1024 are soon taken by whoever opens many."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
