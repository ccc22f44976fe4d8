"""The plant: the robot that a control loop drives, simulated or real.

Implement `Plant` for your own robot and pass it to `odeploy.run`; the loop, the guard and the trace then work as
they do in simulation. `odeploy_runtime.testing.FakePlant` is the shortest example, `examples/hardware_arm.py` has
a driver's thread.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from odeploy_runtime.safety.operator_panel import Panel
from odeploy_runtime.signals import Signal


class Outcome(NamedTuple):
    """What a tick led to; the defaults are those of a robot without a task to score.

    Attributes:
        reward: the task's own.
        done: the episode is over.
        success: the task counts as solved at this tick.
        invalid: the plant failed during the tick, so the episode is over and its score does not count.
    """

    reward: float = 0.0
    done: bool = False
    success: bool = False
    invalid: bool = False


class Plant(Protocol):
    """A robot with its sensors and actuators.

    A tick calls `observe`, then `apply`, then `outcome`, all in the loop's thread. The loop waits for each of
    them, so none may take long: `observe` and `apply` count toward the latency from sensing to actuation.
    """

    @property
    def name(self) -> str:
        """Name of the task, which the policy must have been exported for."""

    @property
    def observation(self) -> Sequence[Signal]:
        """Observation signals, in order: R of them."""

    @property
    def action(self) -> Sequence[Signal]:
        """Action signals, in order: A of them."""

    @property
    def safe_action(self) -> Sequence[float]:
        """Command for when no better one is known, such as zero torque. Length A."""

    @property
    def horizon(self) -> int:
        """Maximum number of ticks of an episode in lockstep."""

    @property
    def rate_hz(self) -> float:
        """Control rate at which the plant runs in real time [Hz]."""

    def reset(self, seed: int) -> None:
        """Begin an episode.

        The seed decides everything random in a simulation; hardware ignores it.
        """

    def observe(self) -> NDArray[np.float32]:
        """Return the present observation. Shape (R,).

        Called once a tick, after the loop wakes up. The loop does not modify the array and does not keep it.
        """

    def apply(self, command: NDArray[np.float32]) -> None:
        """Hand a command over to the actuators, shape (A,).

        A simulation also steps its physics.
        """

    def outcome(self) -> Outcome:
        """Return what the last command led to."""

    def close(self) -> None:
        """Bring the actuators to rest, and release the hardware or the simulation.

        The plant's owner calls it; a run does not.
        """


def episode_seed(seed: int, episode: int) -> int:
    """Return the reset seed of an episode. Different seeds have no episodes in common."""
    return int(np.random.SeedSequence([seed, episode]).generate_state(1)[0])


class CommandedPlant:
    """A plant in which the operator sets some signals, such as a target velocity.

    Only `observe` differs from the plant inside: all other methods are that plant's own, without an extra call.
    """

    def __init__(self, plant: Plant, panel: Panel, commands: Sequence[str]) -> None:
        """Replace the signals `commands` by the numbers that the panel received last."""
        names = [signal.name for signal in plant.observation]
        self._observe, self._panel = plant.observe, panel
        self._places = [names.index(name) for name in commands]
        self.name, self.observation, self.action = plant.name, plant.observation, plant.action
        self.safe_action, self.horizon, self.rate_hz = plant.safe_action, plant.horizon, plant.rate_hz
        self.reset, self.apply, self.outcome, self.close = plant.reset, plant.apply, plant.outcome, plant.close

    def observe(self) -> NDArray[np.float32]:
        """Return the present observation with the operator's numbers in it. Shape (R,)."""
        return self._panel.commanded(self._observe(), self._places)
