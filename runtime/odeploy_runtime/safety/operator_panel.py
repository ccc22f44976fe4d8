"""The operator's panel: stop, dead-man switch, re-arming and commands.

The panel is a Unix datagram socket of the robot's process. Only the robot's user on the robot's machine reaches
it; the policy server and the network do not. A stop that crosses a network is not a stop, and what must work
without software belongs in the power supply.

The dead-man switch is held by a message every 50 ms. It opens 200 ms after the last one: when the sender ends, is
killed or stopped, or loses its terminal.

A command sets the signals that the policy file's recipe assigns to the operator. The robot sends these numbers
with its own signals until the next command.
"""

import contextlib
import math
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from odeploy_runtime.errors import UnreachableError, UsageError
from odeploy_runtime.realtime.clock import Clock
from odeploy_runtime.safety.states import Operator
from odeploy_runtime.socket_path import claim

_OPEN_AFTER_NS = 200_000_000
BEAT_S = 0.05
_MOST_A_TICK = 16  # a flood of messages must not delay the loop
_LONGEST_BYTES = 512

Word = Literal["stop", "hold", "rearm", "command"]


class Panel:
    """The robot's end of the panel. A stop lasts until the operator re-arms.

    Attributes:
        command: numbers of the latest command; empty before the first.
    """

    def __init__(self, path: Path, dead_man: bool, clock: Clock) -> None:
        """Bind the socket, for this user only.

        Args:
            path: path of the socket.
            dead_man: let the robot move only while the operator holds the switch.
            clock: clock of the dead-man switch.

        Raises:
            AddressError: no such folder, a path that is too long or taken.
        """
        self._path, self._dead_man, self._clock = path, dead_man, clock
        self._stop, self._held_ns = False, -_OPEN_AFTER_NS
        self.command: tuple[float, ...] = ()
        claim(path, f"--panel {path}")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.bind(str(path))
        path.chmod(0o600)

    def read(self) -> Operator:
        """Return the operator's present input; a re-arming is reported once."""
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
        """Return the robot's signals with the command's numbers at `places`.

        Shape (R,) -> (R,). Without a command, or if its size differs from `places`, return them unchanged.
        """
        if not self.command or len(self.command) != len(places):
            return sensed
        sent = sensed.copy()
        sent[[*places]] = self.command
        return sent

    def wait_held(self, timeout_s: float) -> None:
        """Wait until the dead-man switch is held, if there is one.

        Raises:
            UnreachableError: the switch is not held in time.
        """
        deadline_ns = self._clock.now_ns() + round(timeout_s * 1e9)
        while not self.read().held:
            if self._clock.now_ns() > deadline_ns:
                raise UnreachableError(
                    where=f"dead-man switch at {self._path}",
                    expected=f"an operator holding it within {timeout_s:g} s",
                    got="none",
                    remedy=f"in another terminal: odeploy operate hold {self._path}",
                )
            self._clock.sleep_until_ns(self._clock.now_ns() + round(BEAT_S * 1e9))

    def close(self) -> None:
        """Close and remove the socket."""
        self._socket.close()
        self._path.unlink(missing_ok=True)


def _numbers(word: bytes) -> tuple[float, ...] | None:
    """Parse a command's numbers; None if any is not finite."""
    try:
        numbers = tuple(map(float, word.split()[1:]))
    except ValueError:
        return None
    return numbers if all(map(math.isfinite, numbers)) else None


def send_word(robot: socket.socket, word: Word, panel: Path, numbers: tuple[float, ...] = ()) -> None:
    """Send one word to a robot's panel, with the numbers of a command.

    Raises:
        UsageError: a command without finite numbers, or numbers after another word.
        UnreachableError: no robot has its panel there.
    """
    line = " ".join([word, *map(repr, numbers)]).encode()
    if (word == "command") != bool(numbers) or not all(map(math.isfinite, numbers)) or len(line) > _LONGEST_BYTES:
        raise UsageError(
            where=f"odeploy operate {word}",
            expected="finite numbers after `command`, none after another word",
            got=" ".join(map(str, numbers)) or "none",
            remedy=f"run for example: odeploy operate command {panel} 0.5 0",
        )
    try:
        robot.sendto(line, str(panel))
    except OSError as error:
        raise UnreachableError(
            where=f"panel {panel}",
            expected="a robot of this user on this machine",
            got=error.strerror or type(error).__name__,
            remedy="give the path with which the robot was started: odeploy sim ... --panel PATH",
        ) from None
