"""Your own torch module, exported, checked and served: python examples/own_module.py POLICY.onnx."""

import sys

import numpy as np
import torch

import odeploy
from odeploy import Signal

TASK = odeploy.Task(
    name="elbow",
    observation=(Signal("elbow_angle", "rad", -3, 3), Signal("elbow_velocity", "rad/s")),
    action=(Signal("elbow_torque", "N·m", -2, 2),),
    rate_hz=100,
    horizon=300,
)


class Spring(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gains = torch.nn.Parameter(torch.tensor([[3.0], [0.4]]))

    def forward(self, observation: torch.Tensor) -> torch.Tensor:
        return (-observation @ self.gains).clamp(-2, 2)


if __name__ == "__main__":
    # Without a simulator: the check runs on recorded observations, here on random ones.
    recorded = np.random.default_rng(0).uniform(-1, 1, (200, 2)).astype(np.float32)
    manifest = odeploy.export_module(Spring(), TASK, sys.argv[1], recorded=recorded)
    print(f"torch and ONNX differ by {manifest.parity[0].max_error:.1e} at most")
    with (
        odeploy.serving(sys.argv[1]) as endpoint,
        odeploy.connect(endpoint, observation=TASK.observation, action=TASK.action, rate_hz=100) as policy,
    ):
        print("served:", policy.act([0.5, 0.0]))
    print("in this process:", odeploy.load_policy(sys.argv[1]).act([0.5, 0.0]))
