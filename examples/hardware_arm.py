"""A hardware arm in odeploy's loop, with guard and trace: python hardware_arm.py POLICY.onnx|ENDPOINT TRACE."""

import contextlib
import sys

import numpy as np
from arm_driver import Driver
from numpy.typing import NDArray

import odeploy


class Arm:  # an odeploy.Plant
    name, rate_hz, horizon, safe_action = "elbow", 100.0, 300, (0.0,)
    observation = (odeploy.Signal("elbow_angle", "rad", -3, 3), odeploy.Signal("elbow_velocity", "rad/s"))
    action = (odeploy.Signal("elbow_torque", "N·m", -2, 2),)

    def __init__(self, ticks: int = 300) -> None:
        self.driver, self.ticks, self.left = Driver(), ticks, 0

    def reset(self, seed: int) -> None:
        self.left = self.ticks

    def observe(self) -> NDArray[np.float32]:
        return np.array(self.driver.sample[1:], np.float32)

    def apply(self, command: NDArray[np.float32]) -> None:
        self.driver.torque, self.left = float(command[0]), self.left - 1

    def outcome(self) -> odeploy.Outcome:
        return odeploy.Outcome(done=self.left <= 0)

    def close(self) -> None:
        self.driver.close()


if __name__ == "__main__":
    with contextlib.closing(Arm()) as arm:
        trace = odeploy.read_trace(odeploy.run(arm, sys.argv[1], trace=sys.argv[2]))
    print(f"{odeploy.summarise(trace).applied} ticks, last angle {trace.rows['observation'][-1, 0]:.3f} rad")
