"""The operator's panel: stop, dead-man switch and re-arming, over a socket beside the robot.

A Unix datagram socket of the robot's own process: it is reached by the robot's user on the robot's machine and
by nobody else, neither through the policy server nor over a network. A stop that has to cross a network is no
stop; what must work without any software belongs into the power supply.

`odeploy operate hold` is a dead-man switch: it says so every 50 ms while it runs. When it ends, is killed or
stopped, or its terminal is lost, the switch is open 200 ms later.

`odeploy operate command PANEL 0.5 0` tells the policy what is wanted of it. The robot sends the numbers with its
own signals, in the places that the policy file's recipe names, until others are said.
"""

import contextlib
import math
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import tyro
from numpy.typing import NDArray
from rich.console import Console

from odeploy_runtime.errors import AddressError, UnreachableError, UsageError
from odeploy_runtime.realtime.clock import Clock
from odeploy_runtime.safety.states import Operator

_OPEN_AFTER_NS = 200_000_000
_BEAT_S = 0.05
_MOST_A_TICK = 16  # whoever floods the panel must not hold up the loop
_PATH_LIMIT = 107

_LONGEST_BYTES = 512

Word = Literal["stop", "hold", "rearm", "command"]


class Panel:
    """The robot's end. A stop lasts until the re-arming that follows it.

    Attributes:
        command: the numbers that were said last; empty before.
    """

    def __init__(self, path: Path, dead_man: bool, clock: Clock) -> None:
        """Binds the socket, for this user alone.

        Args:
            path: where.
            dead_man: whether the robot may move only while somebody holds the switch.
            clock: tells when the switch was last held.

        Raises:
            AddressError: no such folder, too long a path, or something is there.
        """
        self._path, self._dead_man, self._clock = path, dead_man, clock
        self._stop, self._held_ns = False, -_OPEN_AFTER_NS
        self.command: tuple[float, ...] = ()
        if path.exists() or not path.parent.is_dir() or len(str(path).encode()) > _PATH_LIMIT:
            raise AddressError(
                where=f"--panel {path}",
                expected=f"a path of at most {_PATH_LIMIT} bytes in a folder that exists, with nothing there yet",
                got="something there" if path.exists() else f"{len(str(path).encode())} bytes in {path.parent}",
                remedy="give another path, or remove what a killed robot left there",
            )
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.bind(str(path))
        path.chmod(0o600)

    def read(self) -> Operator:
        """What the operator wants now; a re-arming is told once."""
        now_ns, rearm = self._clock.now_ns(), False
        with contextlib.suppress(BlockingIOError):
            for _ in range(_MOST_A_TICK):
                word = self._socket.recv(_LONGEST_BYTES)
                if word == b"stop":
                    self._stop, rearm = True, False
                elif word == b"hold":
                    self._held_ns = now_ns
                elif word == b"rearm":
                    self._stop, rearm = False, True
                elif word.startswith(b"command "):
                    self.command = _numbers(word) or self.command
        held = not self._dead_man or now_ns - self._held_ns < _OPEN_AFTER_NS
        return Operator(self._stop, held, rearm)

    def commanded(self, sensed: NDArray[np.float32], places: Sequence[int]) -> NDArray[np.float32]:
        """The robot's signals with the numbers that were said in their places. Shape (R,) -> (R,).

        As they were where nothing was said, or not as many numbers as there are places.
        """
        if not self.command or len(self.command) != len(places):
            return sensed
        sent = sensed.copy()
        sent[[*places]] = self.command
        return sent

    def wait_held(self, timeout_s: float) -> None:
        """Waits until the dead-man switch is held, if there is one.

        Raises:
            UnreachableError: nobody held it in time.
        """
        deadline_ns = self._clock.now_ns() + round(timeout_s * 1e9)
        while not self.read().held:
            if self._clock.now_ns() > deadline_ns:
                raise UnreachableError(
                    where=f"dead-man switch at {self._path}",
                    expected=f"somebody who holds it within {timeout_s:g} s",
                    got="nobody",
                    remedy=f"in another terminal: odeploy operate hold {self._path}",
                )
            self._clock.sleep_until_ns(self._clock.now_ns() + round(_BEAT_S * 1e9))

    def close(self) -> None:
        """Closes and removes the socket."""
        self._socket.close()
        self._path.unlink(missing_ok=True)


def _numbers(word: bytes) -> tuple[float, ...] | None:
    """Of a command; None where one of them is none."""
    try:
        numbers = tuple(map(float, word.split()[1:]))
    except ValueError:
        return None
    return numbers if all(map(math.isfinite, numbers)) else None


@dataclass(frozen=True)
class Config:
    """Stops a robot on this machine, holds its dead-man switch, lets it go on, or tells it what is wanted."""

    word: Annotated[Word, tyro.conf.Positional]
    """`stop`; `hold`, until Ctrl-C lets go; `rearm`; or `command`, with numbers."""
    panel: Annotated[Path, tyro.conf.Positional]
    """The robot's panel, as it was started with `--panel`."""
    numbers: Annotated[tuple[float, ...], tyro.conf.Positional] = ()
    """Of a command: one for each signal that the policy file's recipe says is the operator's."""


def main(arguments: list[str]) -> None:
    """Says the word; `hold` says it until it is interrupted."""
    config, console = tyro.cli(Config, args=arguments, prog="odeploy operate"), Console()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as robot:
        say(robot, config.word, config.panel, config.numbers)
        console.print(f"{config.word}: said to {config.panel}", soft_wrap=True)
        while config.word == "hold":
            time.sleep(_BEAT_S)
            say(robot, config.word, config.panel)


def say(robot: socket.socket, word: Word, panel: Path, numbers: tuple[float, ...] = ()) -> None:
    """Sends one word, and the numbers of a command.

    Raises:
        UsageError: a command without numbers, with one that is none, or another word with some.
        UnreachableError: no robot has its panel there.
    """
    line = " ".join([word, *map(repr, numbers)]).encode()
    if (word == "command") != bool(numbers) or not all(map(math.isfinite, numbers)) or len(line) > _LONGEST_BYTES:
        raise UsageError(
            where=f"odeploy operate {word}",
            expected="finite numbers after `command`, and after no other word",
            got=" ".join(map(str, numbers)) or "none",
            remedy=f"say for example: odeploy operate command {panel} 0.5 0",
        )
    try:
        robot.sendto(line, str(panel))
    except OSError as error:
        raise UnreachableError(
            where=f"panel {panel}",
            expected="a robot of this machine and user",
            got=error.strerror or type(error).__name__,
            remedy="give the path that the robot was started with: odeploy sim ... --panel PATH",
        ) from None
