"""A task of an MJCF and a task file."""

from pathlib import Path
from typing import Any

from odeploy_runtime.errors import FormatError
from odeploy_sim.mjcf.model import ticks
from odeploy_sim.mjcf.observation import Observation
from odeploy_sim.mjcf.rewards import ended, reward, solved
from odeploy_sim.mjcf.robot import Robot
from odeploy_sim.mjcf.table import Mjcf
from odeploy_sim.tasks.task import Task

_ROOM = "odeploy_sim.mjcf.env"


def task(table: Mjcf, where: Path, facts: dict[str, Any]) -> Task:
    """Return the task of a table.

    Its signals are named after the model's joints, actuators and sensors.

    Args:
        table: the table; its model's path is absolute.
        where: the task file.
        facts: the file's other fields, which override what the model tells.

    Raises:
        MissingError, FormatError: the model does not compile, or the table names what it has not.
    """
    for name in ("rate_hz", "horizon"):
        if name not in facts:
            raise FormatError(
                where=f"{where} at {name}",
                expected="a value",
                got="none",
                remedy=f"add it, for example {name} = 50",
            )
    robot = Robot(table, str(where))
    ticks(robot.model, facts["rate_hz"], str(where))
    observation = Observation(robot).signals
    reward(robot)
    ended(robot)
    arguments: dict[str, Any] = {"table": table, "where": str(where), "rate_hz": facts["rate_hz"]}
    if robot.setpoints is not None:
        arguments["actuation"] = law = robot.setpoints.actuation
        try:
            law.fit(len(robot.action), facts["rate_hz"])
        except ValueError as error:
            raise FormatError(
                where=f"{where} at mjcf.pd.rate_hz",
                expected="a whole multiple of rate_hz",
                got=str(error),
                remedy="correct one of them",
            ) from None
    arguments |= facts.get("make_arguments", {})
    made: dict[str, Any] = {
        "observation": observation,
        "action": robot.action,
        "summary": f"{Path(table.model).name}, from a task file",
        "physics_step_s": float(robot.model.opt.timestep),
        "success_key": None if solved(robot) is None else "success",
        "entry_point": f"{_ROOM}:{'MjcfEnv' if robot.setpoints is None else 'PdMjcfEnv'}",
    }
    for side in ("observation", "action"):
        if side in facts and len(facts[side]) != len(made[side]):
            raise FormatError(
                where=f"{where} at {side}",
                expected=f"{len(made[side])} signals, as the terms and the model have",
                got=str(len(facts[side])),
                remedy="correct the list, or leave it out",
            )
    return Task(**{**made, **facts, "make_arguments": arguments})
