"""The options of `odeploy sim`, and which of them do not go together."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from odeploy_runtime.errors import UsageError
from odeploy_runtime.realtime.scheduling import RealTimeOptions
from odeploy_runtime.robot.chunk_playback import ChunkOptions
from odeploy_runtime.transport.keys import RobotKeys
from odeploy_runtime.transport.sockets import DEFAULT_ENDPOINT

_MOST_SPIN_US = 200

Mode = Literal["lockstep", "realtime", "stream"]


@dataclass(frozen=True)
class Config(ChunkOptions, RealTimeOptions):
    """Drives a simulated robot with the actions of a server and records every tick."""

    task: Annotated[str, tyro.conf.Positional]
    """Name of a catalogued task."""
    endpoint: str = DEFAULT_ENDPOINT
    """Where the server listens."""
    policy: Path | None = None
    """A policy file: start a server for it here, and end it afterwards."""
    in_process: bool = False
    """Run that policy in the robot's own process: no way over a socket, and no watchdog outside of it."""
    provider: str = "cpu"
    """What runs that policy, as of `odeploy serve`."""
    key: Path | None = None
    """This robot's secret key, which `odeploy keys` made, for a server that asks for one."""
    server_key: Path | None = None
    """That server's public key: the robot talks to nobody else."""
    mode: Mode = "realtime"
    """Who waits for whom."""
    rate: float | None = None
    """Ticks per wall-clock second; the task's own rate if not given."""
    episodes: int = 10
    """How many."""
    noise: float = 1.0
    """Noise level of the task, where it has levels (`odeploy tasks TASK`)."""
    seed: int = 1
    """Decides resets and the policy's noise."""
    trace: Path = Path("runs/sim.trace")
    """Where the trace goes."""
    parquet: bool = False
    """When the run is over, write the trace as Parquet too, beside it."""
    flight: Path | None = None
    """Folder for what the flight recorder keeps of a fault; beside the trace if not given."""
    video: Path | None = None
    """Film the first three episodes as an MP4 when the run is over (`odeploy film` films any trace)."""
    view: bool = False
    """Show the robot in MuJoCo's viewer; that disturbs the loop's timing."""
    robot: str = field(default_factory=lambda: f"sim-{os.getpid()}")
    """Name of this robot; a server refuses a second one of the same name."""
    timeout: float = 10.0
    """Seconds to wait for a server, or for the dead-man switch."""
    courier: bool = True
    """Keep the network in a process of its own, where it cannot stop the robot's ticks; lockstep does without."""
    spin_us: float = 0.0
    """Wake up so much early and wait busily for the tick: up to 200 µs, for a loop with --priority."""
    http: str | None = None
    """Report health and counters over HTTP: `PORT` on loopback, or `HOST:PORT`; /live, /ready, /metrics."""
    panel: Path | None = None
    """Where `odeploy operate` reaches this robot: a socket for this user of this machine."""
    dead_man: bool = False
    """Move only while somebody runs `odeploy operate hold` on the panel."""
    rearm_after: int | None = None
    """Good actions in a row that end SAFE without anybody; what a person stopped is not ended so."""

    def require_good(self) -> None:
        """Raises a UsageError for what no run could be made of, before anything is started."""
        require_rate(self.rate)
        self.require_possible()
        if self.dead_man and self.panel is None:
            raise UsageError(
                where="--dead-man",
                expected="--panel PATH, through which the switch is held",
                got="none",
                remedy="add for example --panel /tmp/robot.panel",
            )
        if self.in_process and (self.policy is None or self.mode == "stream"):
            raise UsageError(
                where="--in-process",
                expected="--policy FILE, and a mode in which the robot asks: realtime or lockstep",
                got="no file" if self.policy is None else "--mode stream",
                remedy="give them, or leave --in-process out",
            )
        if self.mode == "stream" and (self.execute, self.ahead or 0, self.blend) != (1, 0, None):
            raise UsageError(
                where="--mode stream",
                expected="--execute 1, no --ahead and no --blend, since the server's clock decides what is asked",
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
        if self.mode == "lockstep" and (self.priority is not None or self.spin_us):
            raise UsageError(
                where="--mode lockstep",
                expected="no --priority and no --spin-us: it never sleeps, and would take the core for good",
                got="one of them",
                remedy="leave them out, or use --mode realtime",
            )

    def robot_keys(self) -> RobotKeys | None:
        """Both keys, or none."""
        if (self.key is None) != (self.server_key is None) or (self.key and self.policy):
            raise UsageError(
                where="--key, --server-key",
                expected="both, for a server that was started with --key; or none",
                got="both with --policy, whose server needs none" if self.policy else "one of them",
                remedy="give for example --key keys/arm.key_secret --server-key keys/server.key",
            )
        if self.key is None or self.server_key is None:
            return None
        return RobotKeys(self.key, self.server_key)


def require_rate(rate_hz: float | None) -> None:
    """Refuses a rate that is not a positive, finite number."""
    if rate_hz is not None and not 0 < rate_hz < float("inf"):
        raise UsageError(
            where="--rate",
            expected="a positive number of Hz",
            got=f"{rate_hz:g}",
            remedy="give one, such as 100",
        )
