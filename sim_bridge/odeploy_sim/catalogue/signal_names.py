"""How models' joints become names of signals."""

from collections.abc import Sequence

from odeploy_runtime.signals import Signal


def xyz(prefix: str, unit: str, limit: float | None = None) -> tuple[Signal, ...]:
    """Three signals, one an axis."""
    low = None if limit is None else -limit
    return tuple(Signal(f"{prefix}_{axis}", unit, low, limit) for axis in "xyz")


def quaternion(prefix: str) -> tuple[Signal, ...]:
    """Four signals of a unit quaternion, scalar first as MuJoCo has it."""
    return tuple(Signal(f"{prefix}_quaternion_{part}", "1") for part in "wxyz")


def angles(names: Sequence[str]) -> tuple[Signal, ...]:
    """Positions of hinges. A joint's range is soft in MuJoCo, so no limit is promised."""
    return tuple(Signal(f"{name}_angle", "rad") for name in names)


def angular_velocities(names: Sequence[str], limit: float | None = None) -> tuple[Signal, ...]:
    """Velocities of hinges."""
    low = None if limit is None else -limit
    return tuple(Signal(f"{name}_angular_velocity", "rad/s", low, limit) for name in names)


def torques(gears: dict[str, int], limit: float = 1.0) -> tuple[Signal, ...]:
    """Motors in units of their gear: the command times the gear is the torque."""
    return tuple(Signal(f"{name}_torque", f"{gear} N·m", -limit, limit) for name, gear in gears.items())
