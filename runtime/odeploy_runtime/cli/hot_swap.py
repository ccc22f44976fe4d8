"""`odeploy swap`, `rollback` and `shadow`: change a running server's policy."""

from dataclasses import dataclass
from pathlib import Path
from typing import IO, Annotated

import tyro

from odeploy_runtime.errors import MissingError
from odeploy_runtime.hot_swap.control_socket import request
from odeploy_runtime.reports.terminal import Terminal
from odeploy_runtime.transport.sockets import DEFAULT_ENDPOINT


@dataclass(frozen=True)
class SwapConfig:
    """Swap the policy file of a running server between two ticks, once it is proven."""

    file: Annotated[Path, tyro.conf.Positional]
    """Policy file for the same task, signals, rate and horizon; others are refused, and nothing changes."""
    server: str = DEFAULT_ENDPOINT
    """Endpoint `ipc:///path` of a server on this machine, or path of its `--control` socket."""


@dataclass(frozen=True)
class RollbackConfig:
    """Serve a server's previous policy again; a second rollback undoes the first."""

    server: str = DEFAULT_ENDPOINT
    """Endpoint `ipc:///path` of a server on this machine, or path of its `--control` socket."""


@dataclass(frozen=True)
class ShadowConfig:
    """Run a second policy beside the served one, on the same observations.

    It moves nothing.

    `odeploy health` shows how far the two differ, and a file gets one line of JSON a second.
    """

    file: Annotated[str, tyro.conf.Positional]
    """Policy file for the same task, signals, rate and horizon; `off` ends the shadow."""
    server: str = DEFAULT_ENDPOINT
    """Endpoint `ipc:///path` of a server on this machine, or path of its `--control` socket."""
    out: Path = Path("runs/shadow.jsonl")
    """File to which the lines are appended."""


def swap(arguments: list[str]) -> None:
    """Swap the policy, and print what is served now."""
    config = tyro.cli(SwapConfig, args=arguments, prog="odeploy swap")
    with _opened(config.file, "rb") as file:
        _print(request(config.server, ["swap", str(config.file)], [file.fileno()]))


def rollback(arguments: list[str]) -> None:
    """Serve the previous policy again, and print what is served now."""
    config = tyro.cli(RollbackConfig, args=arguments, prog="odeploy rollback")
    _print(request(config.server, ["rollback"]))


def shadow(arguments: list[str]) -> None:
    """Start or end the shadow, and print which one runs now."""
    config = tyro.cli(ShadowConfig, args=arguments, prog="odeploy shadow")
    if config.file == "off":
        _print(request(config.server, ["shadow"]))
        return
    with _opened(Path(config.file), "rb") as file:
        config.out.parent.mkdir(parents=True, exist_ok=True)
        with _opened(config.out, "ab") as out:
            _print(request(config.server, ["shadow", config.file], [file.fileno(), out.fileno()]))
    _print(f"divergence: {config.out}, and odeploy health {config.server}")


def _opened(path: Path, mode: str) -> IO[bytes]:
    try:
        opened: IO[bytes] = path.open(mode)
    except OSError as error:
        raise MissingError(
            where=str(path),
            expected="a policy file" if mode == "rb" else "a file that can be written",
            got=error.strerror or type(error).__name__,
            remedy="give another path",
        ) from None
    return opened


def _print(line: str) -> None:
    Terminal().print(line, soft_wrap=True, highlight=False)
