"""`odeploy serve FILE`: the inference server as a program."""

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from odeploy_runtime.errors import Terminated, UsageError
from odeploy_runtime.inference.trial_load import LOAD_LIMIT_S
from odeploy_runtime.logging_options import LogOptions, configure
from odeploy_runtime.policy_file.file import read
from odeploy_runtime.realtime.clock import MonotonicClock
from odeploy_runtime.realtime.scheduling import RealTimeOptions
from odeploy_runtime.server.log import RateLimit
from odeploy_runtime.server.options import ServerOptions
from odeploy_runtime.server.run import Access, serve
from odeploy_runtime.transport.keys import read_allowed, read_pair
from odeploy_runtime.transport.sockets import DEFAULT_ENDPOINT


@dataclass(frozen=True)
class Config(LogOptions, RealTimeOptions):
    """Serve a policy file's actions to robots over ZeroMQ, until Ctrl-C or SIGTERM."""

    file: Annotated[Path, tyro.conf.Positional]
    """Policy file."""
    endpoint: str = DEFAULT_ENDPOINT
    """Where to listen: `ipc:///path` or `tcp://127.0.0.1:port`; with keys also `tcp://address:port`."""
    provider: str = "auto"
    """Execution provider. `auto`: `native` where it computes the file, else `cpu`. `native`: a C program that this
    machine's compiler builds at the start. `cpu`, `cuda`, `tensorrt` or `openvino`: ONNX Runtime's, never with a
    silent fallback."""
    load_timeout: float = LOAD_LIMIT_S
    """Time limit of loading the file and of its golden rows [s]."""
    pre_touch: bool = True
    """Run two dummy inferences shortly before each expected observation."""
    key: Path | None = None
    """The server's secret key (`odeploy keys`): all traffic is encrypted, for the robots of `--allow`."""
    allow: Path | None = None
    """Folder with the public keys of the robots that may connect, NAME.key; read at the start."""
    insecure: bool = False
    """Listen beyond this machine without keys: anyone who reaches the port can read, alter and use everything."""
    max_rate: float = ServerOptions.max_rate_hz
    """Accepted messages of one connection [1/s]; more are dropped and counted."""
    max_load: float = ServerOptions.max_load
    """Share of a core that answers may take, measured; a stream that would exceed it is refused."""
    far: float = ServerOptions.out_of_range_widths
    """Flag observations with a signal beyond its exported range by more than this number of range widths. They are
    answered, counted, and logged."""
    refuse_far: bool = False
    """Answer such an observation with an error: the robot holds its last command, and stops if it goes on."""
    require_signed: Path | None = None
    """Folder with public keys, NAME.sign: serve only files signed by one of them."""
    control: Path | None = None
    """Path of the control socket of `odeploy swap`, `rollback` and `shadow`, for this user of this machine alone.
    The default is PATH.control for an endpoint ipc://PATH, and none for other endpoints."""
    http: str | None = None
    """Report health and counters over HTTP: `PORT` on loopback, or `HOST:PORT`; /live, /ready, /metrics."""


def main(arguments: list[str]) -> None:
    """Check the options, then load, prove and serve the policy file."""
    config = tyro.cli(Config, args=arguments, prog="odeploy serve")
    access = _access(config)
    config.require_possible()
    options = _options(config)
    configure(config).addFilter(RateLimit(MonotonicClock()))
    # The service manager's way to stop a server: no failure, unlike Ctrl-C.
    with contextlib.suppress(Terminated):
        serve(
            read(config.file),
            access,
            provider=config.provider,
            load_limit_s=config.load_timeout,
            options=options,
            realtime=config,
            signers=config.require_signed,
            control=config.control,
            http=config.http,
        )


def _access(config: Config) -> Access:
    """Read the keys."""
    if (config.key is None) != (config.allow is None):
        raise UsageError(
            where="--key, --allow",
            expected="both: the server's own key, and those of the robots that may connect",
            got="--key alone" if config.allow is None else "--allow alone",
            remedy="give for example --key keys/server.key_secret --allow keys/robots",
        )
    if config.key is None or config.allow is None:
        return Access(endpoint=config.endpoint, insecure=config.insecure)
    if config.insecure:
        raise UsageError(
            where="--insecure",
            expected="no keys, or no --insecure",
            got="both",
            remedy="leave --insecure out",
        )
    return Access(endpoint=config.endpoint, keys=read_pair(config.key), allowed=read_allowed(config.allow))


def _options(config: Config) -> ServerOptions:
    if not 1 <= config.max_rate <= 1e6:
        raise UsageError(
            where="--max-rate",
            expected="1 to 1,000,000 messages a second",
            got=f"{config.max_rate:g}",
            remedy=f"leave it out for {ServerOptions.max_rate_hz:g}",
        )
    if not 0 < config.max_load <= 1:
        raise UsageError(
            where="--max-load",
            expected="a share of a core above 0, at most 1",
            got=f"{config.max_load:g}",
            remedy=f"leave it out for {ServerOptions.max_load:g}",
        )
    if not config.far >= 0:
        raise UsageError(where="--far", expected="0 or more", got=f"{config.far:g}", remedy="give for example 1")
    return ServerOptions(
        max_rate_hz=config.max_rate,
        max_load=config.max_load,
        pre_touch=config.pre_touch,
        out_of_range_widths=config.far,
        refuse_out_of_range=config.refuse_far,
    )
