"""A stable-baselines3 policy on your own robot, exported and driven: python sb3_policy.py FOLDER."""

import sys
from pathlib import Path

from stable_baselines3 import PPO

import odeploy

# Your own robot: any registered gymnasium id, a TOML file, or FILE.py:TASK as in own_task.py.
TASK = odeploy.get_task("gym:InvertedPendulum-v5")

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    model = PPO("MlpPolicy", odeploy.make_env(TASK), n_steps=512, device="cpu", seed=0)
    model.learn(1024)
    model.save(folder / "ppo.zip")
    odeploy.export_sb3(folder / "ppo.zip", TASK, folder / "ppo.onnx")
    # In the robot's own process; give a server's endpoint to keep it apart.
    plant = odeploy.make_plant(TASK)
    trace = odeploy.run(plant, folder / "ppo.onnx", mode="lockstep", episodes=3, trace=folder / "ppo.trace")
    plant.close()
    print("return", odeploy.summarise(odeploy.read_trace(trace)).score.value)
