"""The options of a run of the simulated robot."""

import os
from dataclasses import dataclass, field
from pathlib import Path

from odeploy_runtime.robot.options import LoopOptions, Mode, require_rate


@dataclass(frozen=True, kw_only=True)
class EpisodeOptions:
    """What is played, and where it is recorded."""

    mode: Mode = "realtime"
    """`lockstep`: the simulation waits for each action. `realtime`: the robot ticks at a fixed rate and applies
    what arrived by the deadline. `stream`: the server ticks at a fixed rate and sends actions."""
    rate: float | None = None
    """Control rate [Hz]; default: the task's own."""
    episodes: int = 10
    """Number of episodes."""
    noise: float = 1.0
    """Noise level of the task, if it has levels (`odeploy tasks TASK`)."""
    seed: int = 1
    """Seed of resets and of the policy's noise."""
    trace: Path = Path("runs/sim.trace")
    """Trace to write."""
    view: bool = False
    """Show the robot in MuJoCo's viewer; this disturbs the loop's timing."""


@dataclass(frozen=True, kw_only=True)
class RunOptions(LoopOptions, EpisodeOptions):
    """Options of a run; `require_possible` checks them before anything is started."""

    robot: str = field(default_factory=lambda: f"sim-{os.getpid()}")
    """Name of this robot; a server refuses a second robot with the same name."""

    def require_possible(self) -> None:
        """Raise a UsageError for options that no run can satisfy."""
        self.require_possible_in(self.mode)
        require_rate(self.rate)
