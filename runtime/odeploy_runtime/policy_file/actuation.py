"""Actuation: what happens between two commands of a policy.

A policy of 25 or 50 Hz sets a point; what follows the point runs ten to forty times as fast, beside the motors:
it holds the point or goes there on a straight line, and may turn it into torques by a PD law. The policy file says
which, with which gains, because a policy was trained with one of them and fits no other.

It is on the robot's side of the wire and behind the guard: the guard limits what the policy commands, and the
torque limits what the motors get, whatever was commanded. `Actuator` has no clock and no I/O: it is told the time.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class PD:
    """torque = p · (pose + setpoint - position) - d · velocity, within ± limit; a number for each joint.

    Attributes:
        p_gains_nm_rad: p.
        d_gains_nms_rad: d.
        default_pose_rad: pose, which setpoints count from.
        torque_limits_nm: limit.
    """

    p_gains_nm_rad: tuple[float, ...]
    d_gains_nms_rad: tuple[float, ...]
    default_pose_rad: tuple[float, ...]
    torque_limits_nm: tuple[float, ...]

    def __post_init__(self) -> None:
        sizes = {len(numbers) for numbers in vars(self).values()}
        if len(sizes) != 1:
            raise ValueError(f"gains, pose and limits for different numbers of joints: {sorted(sizes)}")
        if min((*self.p_gains_nm_rad, *self.d_gains_nms_rad)) < 0 or min(self.torque_limits_nm) <= 0:
            raise ValueError("gains are not negative, and torque limits positive")


@dataclass(frozen=True)
class Actuation:
    """How setpoints become what the motors get.

    Attributes:
        rate_hz: of the loop beside the motors, a whole multiple of the policy's.
        interpolation: `hold` jumps to a new setpoint; `linear` takes one period of the policy to get there.
        pd: makes torques of setpoints; None where the setpoint itself is what the motors get.
    """

    rate_hz: float
    interpolation: Literal["hold", "linear"]
    pd: PD | None = None

    def fit(self, joints: int, policy_rate_hz: float) -> None:
        """Raises a ValueError where it fits no policy of so many action signals and that rate."""
        steps = self.rate_hz / policy_rate_hz
        if not 1 <= steps < math.inf or abs(steps - round(steps)) > 1e-6 * steps:
            raise ValueError(f"an actuator of {self.rate_hz:g} Hz under a policy of {policy_rate_hz:g} Hz")
        if self.pd is not None and len(self.pd.p_gains_nm_rad) != joints:
            raise ValueError(f"gains of {len(self.pd.p_gains_nm_rad)} joints for {joints} action signals")


class Actuator:
    """The loop beside the motors: told of each command, stepped at `Actuation.rate_hz`. Nothing is allocated.

    Attributes:
        not_finite: how often a position or velocity was no number, for which the torque is zero.
    """

    def __init__(self, actuation: Actuation, joints: int, policy_rate_hz: float) -> None:
        """Stands at setpoint zero.

        Args:
            actuation: of the policy file.
            joints: A.
            policy_rate_hz: the rate at which commands come, which `linear` needs.
        """
        self.not_finite = 0
        self._linear, self._period_ns = actuation.interpolation == "linear", round(1e9 / policy_rate_hz)
        self._from, self._to, self._setpoint, self._out, self._damping = np.zeros((5, joints))
        self._commanded_ns, self._pd = 0, actuation.pd
        if actuation.pd is not None:
            self._p, self._d, self._pose, self._limit = (np.array(n) for n in vars(actuation.pd).values())

    def begin(self, setpoint: NDArray[np.floating]) -> None:
        """Starts an episode from a setpoint, best the one at which the joints are. Shape (A,)."""
        self._from[:] = self._to[:] = setpoint

    def begin_at(self, position_rad: NDArray[np.floating]) -> None:
        """Starts an episode of a PD law from where the joints are. Shape (A,)."""
        self.begin(position_rad - self._pose)

    def command(self, now_ns: int, setpoint: NDArray[np.floating]) -> None:
        """Takes a new setpoint of the policy; the way there begins at the present one. Shape (A,)."""
        self._from[:] = self.setpoint(now_ns)
        self._to[:] = setpoint
        self._commanded_ns = now_ns

    def setpoint(self, now_ns: int) -> Floats:
        """Where the setpoint is now. Shape (A,); valid until the next call."""
        share = (now_ns - self._commanded_ns) / self._period_ns
        if not self._linear or share >= 1:  # a command that comes late is waited for at its predecessor
            return self._to
        if share <= 0:
            return self._from
        np.multiply(self._from, 1 - share, out=self._setpoint)
        np.multiply(self._to, share, out=self._out)
        np.add(self._setpoint, self._out, out=self._setpoint)
        return self._setpoint

    def step(
        self, now_ns: int, position_rad: NDArray[np.floating], velocity_rad_s: NDArray[np.floating]
    ) -> Floats:
        """What the motors get until the next step. Shape (A,); valid until the next call.

        Args:
            now_ns: the time of the clock of `command`.
            position_rad, velocity_rad_s: of the joints, which a PD law needs. Shape (A,) each.

        Returns:
            Torques in N·m within their limits, or the setpoint in its own unit where there is no PD law.
        """
        setpoint, out = self.setpoint(now_ns), self._out
        if self._pd is None:
            out[:] = setpoint
            return out
        np.add(setpoint, self._pose, out=out)
        np.subtract(out, position_rad, out=out)
        np.multiply(out, self._p, out=out)
        np.multiply(velocity_rad_s, self._d, out=self._damping)
        np.subtract(out, self._damping, out=out)
        if not math.isfinite(sum(out.tolist())):  # before any clamp: clip(nan) is nan
            self.not_finite += 1
            out.fill(0)
        np.minimum(out, self._limit, out=out)
        np.maximum(out, -self._limit, out=out)
        return out
