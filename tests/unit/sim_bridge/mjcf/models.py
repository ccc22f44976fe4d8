"""Small models and task files of the tests."""

from pathlib import Path
from typing import Any

from odeploy_sim.mjcf.table import Mjcf

LEG = """
<mujoco>
  <option timestep="0.002"/>
  <worldbody>
    <body name="trunk" pos="0 0 1">
      <freejoint name="trunk"/><geom size="0.1"/><site name="imu"/>
      <body name="thigh">
        <joint name="hip" axis="0 1 0" range="-60 60"/><geom size="0.05" pos="0 0 -0.2"/>
        <body name="shank" pos="0 0 -0.3">
          <joint name="knee" axis="0 1 0" range="-90 0"/><geom size="0.05" pos="0 0 -0.2"/><site name="foot"/>
        </body>
      </body>
    </body>
    <body name="goal" mocap="true"/>
  </worldbody>
  <actuator>
    <position name="hip" joint="hip" kp="50" ctrlrange="-1 1" forcerange="-8 8"/>
    <position name="knee" joint="knee" kp="50" ctrlrange="-1.5 0" forcerange="-5 5"/>
  </actuator>
  <sensor><gyro name="gyro" site="imu"/><jointactuatorfrc name="hip_torque" joint="hip"/></sensor>
  <keyframe>
    <key name="stand" qpos="0 0 0.9 1 0 0 0 0.2 -0.4"/>
    <key name="sit" qpos="0 0 0.5 1 0 0 0 1 -1.5"/>
  </keyframe>
</mujoco>
"""
"""A floating trunk with one leg; joints in degrees."""

HEAD = 'name = "leg"\nrate_hz = 50\nhorizon = 20\n[mjcf]\nmodel = "leg.xml"\n'
OBSERVED = 'observe = [{ term = "joint_pos" }]\n'


def written(folder: Path, rest: str = OBSERVED, head: str = HEAD, model: str = LEG) -> Path:
    """Write a model and a task file of it; return the latter's path."""
    (folder / "leg.xml").write_text(model)
    path = folder / "leg.toml"
    path.write_text(head + rest)
    return path


def table(folder: Path, model: str = LEG, **fields: Any) -> Mjcf:
    """Write a model; return a table of it."""
    path = folder / "leg.xml"
    path.write_text(model)
    return Mjcf(model=str(path), **({"observe": ()} | fields))
