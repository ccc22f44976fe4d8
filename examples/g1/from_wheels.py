"""Write the G1's task and recipe from two unpacked wheels: `python from_wheels.py FOLDER`."""

import ast
import json
import math
import sys
from pathlib import Path
from string import Template
from typing import Any

import onnx

FOLDER, HERE = Path(sys.argv[1]), Path(__file__).parent
WHEEL = FOLDER / "holosoma_inference"


def constant(module: str, name: str) -> Any:
    """Return the first literal of that name in a file of the wheel, without running the file."""
    for node in ast.walk(ast.parse((WHEEL / f"config/config_values/{module}.py").read_text())):
        given = isinstance(node, ast.keyword) and node.arg == name
        if given or (isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name):
            return ast.literal_eval(node.value)
    raise KeyError(f"{module}.py has no {name}")


def table(numbers: dict[str, float]) -> str:
    """Return an inline table of TOML."""
    return "{ " + ", ".join(f'"{joint}" = {number:.9g}' for joint, number in numbers.items()) + " }"


network = onnx.load(WHEEL / "models/loco/g1_29dof/fastsac_g1_29dof.onnx")
facts = {entry.key: json.loads(entry.value) for entry in network.metadata_props}
joints, p_gains = facts["dof_names"], facts["kp"]
pose = dict(zip(joints, constant("robot", "default_dof_angles"), strict=True))
quarters = constant("robot", "G1_29DOF_PER_JOINT_ACTION_SCALE")  # a quarter of torque limit / p
limits = [round(4 * p * quarter, 3) for p, quarter in zip(p_gains, quarters, strict=True)]
filled = {
    "joints": json.dumps(joints),
    "pose": table(pose),
    "minus_pose": table({f"{joint}_angle": -angle for joint, angle in pose.items()}),
    "p_gains": table(dict(zip(joints, p_gains, strict=True))),
    "d_gains": table(dict(zip(joints, facts["kd"], strict=True))),
    "torque_limits": table(dict(zip(joints, limits, strict=True))),
    "armature": table({joint: p / (2 * math.pi * 10) ** 2 for joint, p in zip(joints, p_gains, strict=True)}),
    **constant("observation", "obs_scales"),
    **{name: constant("task", name) for name in ("gait_period", "policy_action_scale")},
}
for template, made in ("task.template", "g1.toml"), ("recipe.template", "recipe.toml"):
    (FOLDER / made).write_text(Template((HERE / template).read_text()).substitute(filled))
