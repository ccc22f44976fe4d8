"""`odeploy operate WORD PANEL`: stop, hold, re-arm or command a robot."""

import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from odeploy_runtime.reports.terminal import Terminal
from odeploy_runtime.safety.operator_panel import BEAT_S, Word, send_word


@dataclass(frozen=True)
class Config:
    """Stop a robot on this machine, hold its dead-man switch, re-arm or command it."""

    word: Annotated[Word, tyro.conf.Positional]
    """`stop`; `hold`, until Ctrl-C; `rearm`; or `command`, with numbers."""
    panel: Annotated[Path, tyro.conf.Positional]
    """The robot's panel, the path given to `--panel`."""
    numbers: Annotated[tuple[float, ...], tyro.conf.Positional] = ()
    """Numbers of a command: one for each signal that the policy file's recipe assigns to the operator."""


def main(arguments: list[str]) -> None:
    """Send the word once; repeat `hold` until interrupted."""
    config, console = tyro.cli(Config, args=arguments, prog="odeploy operate"), Terminal()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as robot:
        send_word(robot, config.word, config.panel, config.numbers)
        console.print(f"{config.word}: sent to {config.panel}", soft_wrap=True)
        while config.word == "hold":
            time.sleep(BEAT_S)
            send_word(robot, config.word, config.panel)
