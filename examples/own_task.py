"""Your own gymnasium environment, from demonstrations to a served student: python own_task.py FOLDER."""

import subprocess
import sys
from pathlib import Path

import gymnasium
import numpy as np

import odeploy
from odeploy import Signal


class Cart(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(-10, 10, (2,))
    action_space = gymnasium.spaces.Box(-1, 1, (1,))

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.state = self.np_random.uniform(-1, 1, 2)
        return self.state, {}

    def step(self, action):
        self.state = self.state + 0.02 * np.array([self.state[1], 5 * action[0]])
        return self.state, -abs(self.state[0]), False, False, {}


OBSERVATION, ACTION = (Signal("x", "m"), Signal("speed", "m/s")), (Signal("push", "N", -1, 1),)
TASK = odeploy.Task("cart", OBSERVATION, ACTION, rate_hz=50, horizon=100, make=Cart)

if __name__ == "__main__":
    demos, run, file = (str(Path(sys.argv[1]) / name) for name in ("cart-v0", "student", "student.onnx"))
    odeploy.collect(TASK, lambda o: np.clip([-o[0] - o[1]], -1, 1), demos, episodes=20, action_std=0.1)
    train = [sys.executable, "-m", "odeploy", "train", "bc", "--task", f"{__file__}:TASK", "--steps", "500"]
    subprocess.run([*train, "--demos", demos, "--out", run], check=True)
    odeploy.export_run(run, file, task=TASK)
    with odeploy.serving(file) as endpoint:
        trace = odeploy.run(odeploy.make_plant(TASK), endpoint, mode="lockstep", trace=f"{run}.trace")
    print(odeploy.summarise(odeploy.read_trace(trace)).score)
