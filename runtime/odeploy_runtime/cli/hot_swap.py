"""`odeploy swap`, `rollback` and `shadow`: change a running server's policy."""

from dataclasses import dataclass
from pathlib import Path
from typing import IO, Annotated

import tyro

from odeploy_runtime.cli.server_address import server_address
from odeploy_runtime.errors import MissingError, UsageError
from odeploy_runtime.hot_swap.contract import require_allowable
from odeploy_runtime.hot_swap.control_socket import request
from odeploy_runtime.printable import printable
from odeploy_runtime.regular_file import POLICY_BYTES, open_regular
from odeploy_runtime.reports.terminal import Terminal


@dataclass(frozen=True)
class SwapConfig:
    """Swap the policy file of a running server between two ticks, once it is proven."""

    file: Annotated[Path | None, tyro.conf.Positional] = None
    """Policy file that moves the robot in the same way; another one is refused, and nothing changes."""
    address: Annotated[str | None, tyro.conf.Positional] = None
    """Endpoint `ipc:///path` of a server on this machine, or path of its `--control` socket."""
    server: str | None = None
    """The same address, as an option; default: ipc:///tmp/odeploy.ipc."""
    allow: str = ""
    """What else may differ from the served policy, separated by commas: `units`, `limits` (of actions),
    `semantics` (of actions), `actuation`, `command` (the operator's signals), `recipe`. By default, nothing."""
    abort: bool = False
    """End the swaps that are under way instead; the served policy stays."""


@dataclass(frozen=True)
class RollbackConfig:
    """Serve a server's previous policy again; a second rollback undoes the first.

    It waits for nothing: a swap that is under way ends.
    """

    address: Annotated[str | None, tyro.conf.Positional] = None
    """Endpoint `ipc:///path` of a server on this machine, or path of its `--control` socket."""
    server: str | None = None
    """The same address, as an option; default: ipc:///tmp/odeploy.ipc."""


@dataclass(frozen=True)
class ShadowConfig:
    """Run a second policy beside the served one, on the same observations.

    It moves nothing.

    `odeploy health` shows how far the two differ, and a file gets one line of JSON a second.
    """

    file: Annotated[str, tyro.conf.Positional]
    """Policy file for the same task, signals, rate and horizon; `off` ends the shadow."""
    address: Annotated[str | None, tyro.conf.Positional] = None
    """Endpoint `ipc:///path` of a server on this machine, or path of its `--control` socket."""
    server: str | None = None
    """The same address, as an option; default: ipc:///tmp/odeploy.ipc."""
    out: Path = Path("runs/shadow.jsonl")
    """File to which the lines are appended."""


def swap(arguments: list[str]) -> None:
    """Swap the policy, or end a swap, and print what is served now."""
    config = tyro.cli(SwapConfig, args=arguments, prog="odeploy swap")
    server = server_address(config.address, config.server)
    if config.abort:
        if config.file is not None or config.allow:
            raise _unclear("--abort", "no file and no --allow; the server as --server ADDRESS", "one of them")
        _print(request(server, ["abort"]))
        return
    allowed = [word.strip() for word in config.allow.split(",")] if config.allow else []
    require_allowable(allowed)
    if config.file is None:
        raise _unclear("odeploy swap", "a policy file, or --abort", "neither")
    with _opened(config.file, "rb") as file:
        _print(request(server, ["swap", str(config.file), *allowed], [file.fileno()]))


def rollback(arguments: list[str]) -> None:
    """Serve the previous policy again, and print what is served now."""
    config = tyro.cli(RollbackConfig, args=arguments, prog="odeploy rollback")
    _print(request(server_address(config.address, config.server), ["rollback"]))


def shadow(arguments: list[str]) -> None:
    """Start or end the shadow, and print which one runs now."""
    config = tyro.cli(ShadowConfig, args=arguments, prog="odeploy shadow")
    server = server_address(config.address, config.server)
    if config.file == "off":
        _print(request(server, ["shadow"]))
        return
    with _opened(Path(config.file), "rb") as file:
        config.out.parent.mkdir(parents=True, exist_ok=True)
        with _opened(config.out, "ab") as out:
            _print(request(server, ["shadow", config.file], [file.fileno(), out.fileno()]))
    _print(f"divergence: {config.out}, and odeploy health {server}")


def _opened(path: Path, mode: str) -> IO[bytes]:
    try:
        opened: IO[bytes] = open_regular(path, POLICY_BYTES) if mode == "rb" else path.open(mode)
    except OSError as error:
        raise MissingError(
            where=str(path),
            expected="a policy file" if mode == "rb" else "a file that can be written",
            got=error.strerror or type(error).__name__,
            remedy="give another path",
        ) from None
    return opened


def _unclear(where: str, expected: str, got: str) -> UsageError:
    return UsageError(where=where, expected=expected, got=got, remedy="give for example: odeploy swap policy.onnx")


def _print(line: str) -> None:
    Terminal().print(printable(line), soft_wrap=True, highlight=False)
