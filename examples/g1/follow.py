"""How well a trace's robot follows its commands: `python follow.py RUN.trace`.

For each command that held for 3 s, the mean velocity after its first second, in the pelvis's frame.
"""

import sys

import numpy as np
from numpy.typing import NDArray

import odeploy

COMMANDED = "forward_velocity", "sideways_velocity", "turn_rate"
MEASURED = "imu_lin_vel_x", "imu_lin_vel_y", "imu_ang_vel_z"


def row(numbers: NDArray[np.float32]) -> str:
    """Return velocities forward and to the left [m/s] and about the vertical [rad/s]."""
    return " ".join(f"{number:5.2f}" for number in numbers)


if __name__ == "__main__":
    trace = odeploy.read_trace(sys.argv[1])
    names, seen = [signal.name for signal in trace.header.observation], trace.rows["observation"]
    commanded, measured = (seen[:, [names.index(name) for name in chosen]] for chosen in (COMMANDED, MEASURED))
    episode, rate = trace.rows["episode"], trace.header.rate_hz
    changes = np.flatnonzero(np.diff(episode) | np.diff(commanded, axis=0).any(axis=1)) + 1
    errors = []
    for held in np.split(np.arange(len(seen)), changes):
        if len(held) < 3 * rate:
            continue
        command, velocity = commanded[held[0]], measured[held[int(rate) :]].mean(axis=0)
        off = velocity - command
        errors.append((np.hypot(off[0], off[1]), abs(off[2])))
        print(f"episode {episode[held[0]]:2}: commanded {row(command)}  measured {row(velocity)}", end="")
        print("  error {:.2f} m/s, {:.2f} rad/s".format(*errors[-1]))
    ticks = np.bincount(episode)
    print(f"{len(ticks)} episodes of {ticks.min() / rate:.2f} to {ticks.max() / rate:.2f} s")
    print("largest error: {:.2f} m/s, {:.2f} rad/s".format(*np.max(errors, axis=0)))
