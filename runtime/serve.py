"""`odeploy serve FILE`: the inference server as a program."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
import zmq
from rich.console import Console

from runtime.clock import MonotonicClock, real_time
from runtime.onnx_policy import OnnxPolicy
from runtime.pretouch import PreTouch
from runtime.server import Server
from runtime.sockets import DEFAULT_ENDPOINT, bind_router


@dataclass(frozen=True)
class Config:
    """Serves a policy file's actions to robots over ZeroMQ, until Ctrl-C or SIGTERM."""

    file: Annotated[Path, tyro.conf.Positional]
    """A policy file."""
    endpoint: str = DEFAULT_ENDPOINT
    """Where to listen: `ipc:///path` or `tcp://127.0.0.1:port`."""
    provider: str = "cpu"
    """Execution provider: `cpu` or `cuda`; a silent fallback is an error."""
    pre_touch: bool = True
    """Run two dummy inferences shortly before each expected observation."""


def main(arguments: list[str]) -> None:
    """Loads, proves and serves a policy file."""
    config, console = tyro.cli(Config, args=arguments, prog="odeploy serve"), Console(stderr=True)
    policy = OnnxPolicy.load(config.file, config.provider)
    with zmq.Context[zmq.Socket[bytes]]() as context, real_time() as obtained:
        socket = bind_router(context, config.endpoint)
        m = policy.manifest
        console.print(
            f"serving {m.name} ({m.method}, {m.sampler_label}) for {m.task} at {config.endpoint}; "
            f"fingerprint {policy.fingerprint[:12]}, golden rows within {policy.golden_error:.1e}, "
            f"{policy.provider}, " + ", ".join(f"{k} {v}" for k, v in obtained.items()),
            soft_wrap=True,
            highlight=False,
            markup=False,
        )
        clock = MonotonicClock()
        touch = PreTouch(policy.hot_call_ns, clock) if config.pre_touch else None

        def say(line: str) -> None:
            console.print(line, soft_wrap=True, highlight=False, markup=False)  # names come from outside

        try:
            Server(socket, policy, clock, touch, say).run()
        finally:
            socket.close(linger=100)
