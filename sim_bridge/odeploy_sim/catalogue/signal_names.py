"""Names and units of signals from the joints of a model."""

from collections.abc import Sequence

from odeploy_runtime.signals import Signal


def xyz(prefix: str, unit: str, limit: float | None = None) -> tuple[Signal, ...]:
    """Return three signals, one for each axis."""
    low = None if limit is None else -limit
    return tuple(Signal(f"{prefix}_{axis}", unit, low, limit) for axis in "xyz")


def quaternion(prefix: str) -> tuple[Signal, ...]:
    """Return the four signals of a unit quaternion, scalar first as in MuJoCo."""
    return tuple(Signal(f"{prefix}_quaternion_{part}", "1") for part in "wxyz")


def angles(names: Sequence[str]) -> tuple[Signal, ...]:
    """Return positions of hinges, without limits: MuJoCo's joint ranges are soft."""
    return tuple(Signal(f"{name}_angle", "rad") for name in names)


def angular_velocities(names: Sequence[str], limit: float | None = None) -> tuple[Signal, ...]:
    """Return velocities of hinges."""
    low = None if limit is None else -limit
    return tuple(Signal(f"{name}_angular_velocity", "rad/s", low, limit) for name in names)


def torques(gears: dict[str, int], limit: float = 1.0) -> tuple[Signal, ...]:
    """Return motor commands in units of their gear: command times gear is torque."""
    return tuple(Signal(f"{name}_torque", f"{gear} N·m", -limit, limit) for name, gear in gears.items())
