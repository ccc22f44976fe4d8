"""The options of a robot's loop, and their exclusions."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from odeploy_runtime.errors import UsageError
from odeploy_runtime.realtime.scheduling import RealTimeOptions
from odeploy_runtime.robot.chunk_playback import ChunkOptions
from odeploy_runtime.robot.connect import Transport
from odeploy_runtime.transport.keys import RobotKeys, robot_keys

_MOST_SPIN_US = 200

Mode = Literal["lockstep", "realtime", "stream"]


@dataclass(frozen=True, kw_only=True)
class LoopOptions(ChunkOptions, RealTimeOptions):
    """Options of any robot's loop, simulated or real."""

    flight: Path | None = None
    """Folder for the flight recorder's dumps of faults; default: the trace's folder."""
    robot: str = field(default_factory=lambda: f"robot-{os.getpid()}")
    """Name of this robot; a server refuses a second robot with the same name."""
    key: Path | None = None
    """This robot's secret key, made by `odeploy keys`, for a server that requires one."""
    server_key: Path | None = None
    """Public key of that server; the robot rejects any other."""
    timeout: float = 10.0
    """Time to wait for the server, and for the dead-man switch [s]."""
    transport: Transport = "auto"
    """`lane`: the local lane beside the server's ipc address. `zmq`: ZeroMQ. `auto`: the lane if there is one."""
    courier: bool = True
    """Keep ZeroMQ in an I/O process of its own, where it cannot stop the ticks; not on a lane, not in lockstep."""
    spin_us: float = 0.0
    """Wake up this much early and busy-wait for the tick [µs], up to 200; for a loop with --priority."""
    http: str | None = None
    """Serve health and metrics over HTTP: `PORT` on localhost, or `HOST:PORT`; /live, /ready, /metrics."""
    panel: Path | None = None
    """Socket for `odeploy operate`, accessible to this user on this machine."""
    dead_man: bool = False
    """Move only while `odeploy operate hold` runs on the panel."""
    rearm_after: int | None = None
    """Number of consecutive good actions after which SAFE ends by itself; an operator's stop never does."""

    def require_possible_in(self, mode: Mode) -> None:
        """Raise a UsageError for options that no run in this mode can satisfy."""
        RealTimeOptions.require_possible(self)
        if self.dead_man and self.panel is None:
            raise UsageError(
                where="--dead-man",
                expected="--panel PATH, through which the switch is held",
                got="none",
                remedy="add for example --panel /tmp/robot.panel",
            )
        if mode == "stream" and (self.execute, self.ahead or 0, self.blend) != (1, 0, None):
            raise UsageError(
                where="--mode stream",
                expected="--execute 1, no --ahead and no --blend, since the server's clock decides when to answer",
                got="one of them",
                remedy="leave them out, or use --mode realtime",
            )
        if not 0 <= self.spin_us <= _MOST_SPIN_US:
            raise UsageError(
                where="--spin-us",
                expected=f"0 to {_MOST_SPIN_US}",
                got=f"{self.spin_us:g}",
                remedy="give for example 60",
            )
        if mode == "lockstep" and (self.priority is not None or self.spin_us):
            raise UsageError(
                where="--mode lockstep",
                expected="no --priority and no --spin-us: it never sleeps, and would occupy the core",
                got="one of them",
                remedy="leave them out, or use --mode realtime",
            )

    def robot_keys(self) -> RobotKeys | None:
        """Return both keys, or None without any.

        Raises:
            UsageError: only one of them is given.
        """
        return robot_keys(self.key, self.server_key)


def require_rate(rate_hz: float | None) -> None:
    """Raise a UsageError for a rate that is not a positive, finite number."""
    if rate_hz is not None and not 0 < rate_hz < float("inf"):
        raise UsageError(
            where="--rate",
            expected="a positive number of Hz",
            got=f"{rate_hz:g}",
            remedy="give one, such as 100",
        )
