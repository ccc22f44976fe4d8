"""Smooth motions of a person as joint angles: the references of `pose_track`.

A motion combines one of four movements of trunk and legs with one of two movements of each arm. That gives sixteen
kinds, whose sizes and speeds are drawn. All kinds pass through the same upright pose with the arms down once a
cycle, and in every kind arms and trunk move together. The root therefore shows the phase of a cycle, and never the
movement of the arms.

Both soles stay on the floor, except the foot that a `lift` raises while the pelvis is above the other foot. The
angles follow from the positions of pelvis and ankles, by the geometry of a leg of two equal links.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Trunk = Literal["squat", "sway", "bow", "lift"]
Arm = Literal["forward", "back"]

LINK_M = 0.42
"""Of thigh and shin alike."""
ANKLE_M = 0.07
"""Height of an ankle whose sole is on the floor."""
_HIP_M = 0.82  # height of the pelvis in the upright pose
_SIZES = {"squat": (0.12, 0.3), "sway": (0.05, 0.12), "bow": (0.4, 0.9), "lift": (0.08, 0.2)}  # m, but bow: rad
_RAISE_RAD = {"forward": (1.6, 2.4), "back": (-1.7, -1.1)}
_BEND_RAD = {"forward": 0.3, "back": 1.4}
_STANCE_M, _SPEED_RAD_S = (0.12, 0.16), (1.5, 2.5)


@dataclass(frozen=True)
class Motion:
    """A motion, periodic in time.

    Attributes:
        trunk: movement of trunk and legs.
        size: its amplitude [m], or [rad] for a bow.
        arms: movements of the left and the right arm.
        raises_rad: amplitude of each shoulder, forward positive.
        stance_m: distance of the left ankle before the middle and of the right one behind it; may be negative.
        lifted: foot that a `lift` raises, 0 for the left one.
        speed_rad_s: speed of the phase.
        phase_rad: phase at time 0.
    """

    trunk: Trunk
    size: float
    arms: tuple[Arm, Arm]
    raises_rad: tuple[float, float]
    stance_m: float
    lifted: int
    speed_rad_s: float
    phase_rad: float

    def poses(self, times_s: Array) -> Array:
        """Return joint positions at each time, in the order of the model.

        Shapes (T,) -> (T, 14).

        Root x and z in m, root pitch, abdomen, shoulder and elbow of each arm, hip, knee and ankle of each leg in
        rad, left before right.
        """
        u = (
            1 - np.cos(self.phase_rad + self.speed_rad_s * times_s)
        ) / 2  # 0 in the upright pose, 1 at the other end
        x, z, bend = np.zeros_like(u), np.full_like(u, _HIP_M), np.zeros_like(u)
        ankles_x, ankles_z = np.array([[self.stance_m], [-self.stance_m]]), np.full((2, len(u)), ANKLE_M)
        if self.trunk == "squat":
            z, bend = z - self.size * u, 1.5 * self.size * u
        elif self.trunk == "sway":
            x = self.size * u
        elif self.trunk == "bow":
            x, bend = -0.1 * self.size * u, self.size * u
        else:
            x = (ankles_x[1 - self.lifted] + 0.04) * _ease(u / 0.6)  # above the sole that stays on the floor
            ankles_z[self.lifted] += self.size * _ease((u - 0.6) / 0.4)
        pitch = bend / 2
        arms = [0.1 + np.outer(self.raises_rad, u), 0.2 + np.outer([_BEND_RAD[arm] for arm in self.arms], u)]
        legs = _leg(ankles_x - x, ankles_z - z, pitch)
        angles = [side for limb in (arms, legs) for joints in zip(*limb, strict=True) for side in joints]
        return np.stack([x, z, pitch, bend - pitch, *angles], axis=-1)


def draw(generator: np.random.Generator) -> Motion:
    """Draw a motion of any kind."""
    trunk: Trunk = generator.choice(get_args(Trunk))
    left, right = arms = tuple(generator.choice(get_args(Arm), 2))
    return Motion(
        trunk=trunk,
        size=generator.uniform(*_SIZES[trunk]),
        arms=arms,
        raises_rad=(generator.uniform(*_RAISE_RAD[left]), generator.uniform(*_RAISE_RAD[right])),
        stance_m=generator.uniform(*_STANCE_M) * generator.choice([-1, 1]),
        lifted=int(generator.integers(2)),
        speed_rad_s=generator.uniform(*_SPEED_RAD_S),
        phase_rad=generator.uniform(0, 2 * np.pi),
    )


def _leg(x: Array, z: Array, pitch: Array) -> tuple[Array, Array, Array]:
    """Return hip, knee and ankle angles for an ankle at (x, z) m from the hip.

    The sole is level, the knee in front.
    """
    half_knee = np.arccos(np.hypot(x, z) / (2 * LINK_M))
    thigh = np.arctan2(x, -z) + half_knee  # from straight down, forward positive
    return thigh + pitch, 2 * half_knee, 2 * half_knee - thigh


def _ease(share: Array) -> Array:
    """Return 0 below 0, 1 above 1, and a smooth curve between."""
    s = np.clip(share, 0, 1)
    eased: Array = s**2 * (3 - 2 * s)
    return eased
