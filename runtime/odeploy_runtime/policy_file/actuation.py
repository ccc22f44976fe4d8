"""Actuation: low-level control between two commands of a policy.

A policy at 25 or 50 Hz commands setpoints. The loop that tracks them runs ten to forty times as fast, beside the
motors: it holds the setpoint or interpolates to it, and may turn it into torques by a PD law. The policy file
states which, with its gains, because a policy fits only the law that it was trained with.

It runs on the robot, behind the guard: the guard limits the policy's commands, and the torque limits bound what
the motors get, whatever was commanded. `Actuator` has no clock and no I/O; the caller passes the time.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class PD:
    """PD law from setpoints to torques, with one number per joint.

    torque = p · (pose + setpoint - position) - d · velocity, within ± limit.

    Attributes:
        p_gains_nm_rad: p. Shape (A,).
        d_gains_nms_rad: d. Shape (A,).
        default_pose_rad: pose, the origin of setpoints. Shape (A,).
        torque_limits_nm: limit. Shape (A,).
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
    """Low-level control from setpoints to motor inputs.

    Attributes:
        rate_hz: rate of the low-level loop, a whole multiple of the policy's.
        interpolation: `hold` jumps to a new setpoint; `linear` reaches it after one period of the policy.
        pd: PD law from setpoints to torques; None if the motors take setpoints.
    """

    rate_hz: float
    interpolation: Literal["hold", "linear"]
    pd: PD | None = None

    def fit(self, joints: int, policy_rate_hz: float) -> None:
        """Raise a ValueError if it does not fit a policy with these joints and this rate."""
        steps = self.rate_hz / policy_rate_hz
        if not 1 <= steps < math.inf or abs(steps - round(steps)) > 1e-6 * steps:
            raise ValueError(f"an actuator of {self.rate_hz:g} Hz under a policy of {policy_rate_hz:g} Hz")
        if self.pd is not None and len(self.pd.p_gains_nm_rad) != joints:
            raise ValueError(f"gains of {len(self.pd.p_gains_nm_rad)} joints for {joints} action signals")


class Actuator:
    """Low-level loop: receives commands, steps at its own rate, allocates nothing.

    Attributes:
        not_finite: number of steps with a NaN or infinite position or velocity; their torques are zero.
    """

    def __init__(self, actuation: Actuation, joints: int, policy_rate_hz: float) -> None:
        """Start at setpoint zero.

        Args:
            actuation: actuation of the policy file.
            joints: A, number of action signals.
            policy_rate_hz: rate of the commands, for `linear`.
        """
        self.not_finite = 0
        self._linear, self._period_ns = actuation.interpolation == "linear", round(1e9 / policy_rate_hz)
        self._from, self._to, self._setpoint, self._out, self._damping = np.zeros((5, joints))
        self._commanded_ns, self._pd = 0, actuation.pd
        if actuation.pd is not None:
            self._p, self._d, self._pose, self._limit = (np.array(n) for n in vars(actuation.pd).values())

    def begin(self, setpoint: NDArray[np.floating]) -> None:
        """Start an episode at a setpoint, preferably the joints' present one. Shape (A,)."""
        self._from[:] = self._to[:] = setpoint

    def begin_at(self, position_rad: NDArray[np.floating]) -> None:
        """Start an episode of a PD law at the joints' position. Shape (A,)."""
        self.begin(position_rad - self._pose)

    def command(self, now_ns: int, setpoint: NDArray[np.floating]) -> None:
        """Take a new setpoint of the policy; interpolation begins at the present one.

        Shape (A,).
        """
        self._from[:] = self.setpoint(now_ns)
        self._to[:] = setpoint
        self._commanded_ns = now_ns

    def setpoint(self, now_ns: int) -> Floats:
        """Return the present setpoint. Shape (A,); valid until the next call."""
        share = (now_ns - self._commanded_ns) / self._period_ns
        if not self._linear or share >= 1:  # if a command is late, the previous one holds
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
        """Return the motors' input until the next step.

        Shape (A,); valid until the next call.

        Args:
            now_ns: present time, on the clock of `command`.
            position_rad, velocity_rad_s: state of the joints, for a PD law. Shape (A,) each.

        Returns:
            Torques in N·m within their limits; without a PD law the setpoint in its own unit.
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
