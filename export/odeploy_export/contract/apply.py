"""A file's stated facts, applied to a task, each with its source."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from odeploy_export.contract.joints import acting_joints, joint_of, numbers, places_by_joint
from odeploy_export.contract.low_level import derived_actuation, require_radians, require_same
from odeploy_export.contract.observation import COMMAND_SIGNALS, recipe_of
from odeploy_export.contract.stated import Stated
from odeploy_export.graphs.action_output import Output
from odeploy_runtime.errors import ContractError
from odeploy_runtime.policy_file.actuation import Actuation
from odeploy_runtime.policy_file.recipe import Recipe
from odeploy_sim.tasks.task import Task

_PER_JOINT = ("action_scale", "default_pose", "p_gains", "d_gains", "torque_limits")


@dataclass(frozen=True)
class Applied:
    """What remains to do for an export.

    Attributes:
        output: how the network's output becomes the task's action.
        places: place of each of the network's inputs in the observation; None for the same order.
        recipe: how the observation is computed from the robot's signals; None if it is those.
        actuation: low-level control; None where the file says nothing.
        sources: part of the policy file -> keys that state it.
    """

    output: Output
    places: tuple[int, ...] | None = None
    recipe: Recipe | None = None
    actuation: Actuation | None = None
    sources: Mapping[str, str] | None = None


def applied(
    stated: Stated, task: Task, recipe: Recipe | None, output: Output, actuation: Actuation | None
) -> Applied:
    """Apply what a file states; what cannot be applied stops the export.

    Args:
        stated: facts of the file.
        task: the robot's task, with its own signals.
        recipe: recipe that the user gave; it replaces stated observation terms.
        output: scale and offset that the user gave.
        actuation: actuation that the user gave; it replaces stated gains.

    Raises:
        ContractError: a fact that contradicts the task, or that nothing can be made of.
    """
    _require_rate(stated, task)
    _require_ranges(stated, task)
    if "joints" not in stated.facts:
        given = [fact for fact in (*_PER_JOINT, "observation_terms") if fact in stated.facts]
        if given:
            raise ContractError(
                where=f"{stated.where}, {stated.source(given[0])}",
                expected="joint_names beside it, since its order is that of the joints",
                got="none",
                remedy="add joint_names to the metadata, or to a file for --contract",
            )
        return Applied(output, recipe=recipe)
    joints = tuple(str(name).rpartition("/")[2] for name in _listed(stated.facts["joints"]))
    acting, places = acting_joints(joints, task.action, f"{stated.where}, {stated.source('joints')}")
    _require_observed(stated, joints, acting, task)
    of = [acting[place] for place in places]  # the task's order
    facts = {
        fact: numbers(stated.facts[fact], joints, acting, f"{stated.where}, {stated.source(fact)}")
        for fact in _PER_JOINT
        if fact in stated.facts
    }
    _require_finite(stated, facts)
    sources = {"order of joints": stated.source("joints")}
    output, actuation = _commands(stated, task, facts, of, output, actuation, sources)
    output = replace(output, places=None if list(places) == list(range(len(places))) else places)
    if recipe is None and "observation_terms" in stated.facts:
        recipe = recipe_of(stated, task.observation, acting, facts.get("default_pose"))
        sources["recipe"] = stated.source(
            "observation_terms", "observation_scales", "observation_history", "default_pose"
        )
    observation = task.observation if recipe is None else recipe.observation(task.action)
    inputs = places_by_joint([signal.name for signal in observation], acting)
    return Applied(output, inputs, recipe, actuation, sources)


def _commands(
    stated: Stated,
    task: Task,
    facts: Mapping[str, Mapping[str, float]],
    of: Sequence[str],
    output: Output,
    actuation: Actuation | None,
    sources: dict[str, str],
) -> tuple[Output, Actuation | None]:
    """Return scale, offset and low-level control of the action."""
    angular = all(signal.unit == "rad" for signal in task.action)
    if not angular:
        for fact in ("default_pose", "p_gains", "d_gains", "torque_limits"):
            if fact in facts and not (fact == "default_pose" and "observation_terms" in stated.facts):
                raise ContractError(
                    where=f"{stated.where}, {stated.source(fact)}, joint {of[0]}",
                    expected="actions that are setpoints in rad",
                    got=f"{task.action[0].name} in {task.action[0].unit}",
                    remedy="give the task whose actions are the setpoints of its joints",
                )
        return _scaled(stated, facts, of, output, sources), None
    angles = {j: s for s in task.observation if s.unit == "rad" and (j := joint_of(s.name, of)) is not None}
    require_radians(stated, facts.get("default_pose", {}), facts.get("action_scale", {}), angles)
    if "action_scale" not in facts and output.scale is None:
        raise _missing(stated, of[0], "action_scale, which turns its outputs into radians", "scale")
    output = _scaled(stated, facts, of, output, sources)
    own: Actuation | None = actuation or task.make_arguments.get("actuation")
    pd = None if own is None else own.pd
    if pd is not None:
        whose = "--actuation" if actuation is not None else f"the robot of {task.name}"
        for fact, values in (
            ("default_pose", pd.default_pose_rad),
            ("p_gains", pd.p_gains_nm_rad),
            ("d_gains", pd.d_gains_nms_rad),
            ("torque_limits", pd.torque_limits_nm),
        ):
            if fact not in facts:
                continue
            if actuation is not None and fact != "default_pose":
                sources[f"actuation, {fact}"] = f"--actuation instead of {stated.source(fact)}"
                continue
            remedy = "give --actuation with what holds on the robot, or the task of the policy's robot"
            require_same(stated, fact, facts[fact], dict(zip(of, values, strict=True)), whose, remedy)
            sources[f"actuation, {fact}"] = stated.source(fact)
        return output, None
    if "default_pose" in facts and output.offset is None and not {"p_gains", "d_gains"} & facts.keys():
        sources["offset of the action"] = stated.source("default_pose")
        return replace(output, offset=tuple(facts["default_pose"][joint] for joint in of)), None
    if {"p_gains", "d_gains", "torque_limits"} & facts.keys():
        sources["actuation"] = stated.source("p_gains", "d_gains", "default_pose", "torque_limits")
        return output, derived_actuation(stated, facts, of, task.physics_step_s)
    if "default_pose" not in facts and output.offset is None:
        raise _missing(stated, of[0], "default_joint_pos, the origin of its setpoints", "offset")
    return output, None


def _scaled(
    stated: Stated,
    facts: Mapping[str, Mapping[str, float]],
    of: Sequence[str],
    output: Output,
    sources: dict[str, str],
) -> Output:
    if "action_scale" not in facts:
        return output
    scale = facts["action_scale"]
    if output.scale is not None:
        given = dict(zip(of, output.scale, strict=True))
        require_same(stated, "action_scale", scale, given, "--recipe", "remove one of both, or correct it")
    sources["scale of the action"] = stated.source("action_scale")
    return replace(output, scale=tuple(scale[joint] for joint in of))


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


def _require_rate(stated: Stated, task: Task) -> None:
    if "step_s" in stated.facts:
        rate_hz = 1 / float(stated.facts["step_s"])
        if not math.isclose(rate_hz, task.rate_hz, rel_tol=1e-3):
            raise ContractError(
                where=f"{stated.where}, {stated.source('step_s')}",
                expected=f"{1 / task.rate_hz:g} s, the period of {task.name}",
                got=f"{1 / rate_hz:g} s",
                remedy="give the task at the rate of the training",
            )


def _require_ranges(stated: Stated, task: Task) -> None:
    """Require that the task's command stays within what was trained."""
    ranges = stated.facts.get("command_ranges")
    for part, limits in ranges.items() if isinstance(ranges, dict) else ():
        for signal in task.observation:
            plain = signal.name.removeprefix("command_")
            if plain not in COMMAND_SIGNALS.get(part, ()) or signal.low is None or signal.high is None:
                continue
            low, high = map(float, limits)
            if signal.low < low - 1e-6 or high + 1e-6 < signal.high:
                raise ContractError(
                    where=f"{stated.where}, {stated.source('command_ranges')}, {part}",
                    expected=f"a range that includes the task's {signal.name}, [{signal.low:g}, {signal.high:g}]",
                    got=f"[{low:g}, {high:g}]",
                    remedy="narrow the range of the command in the task",
                )


def _require_observed(stated: Stated, joints: Sequence[str], acting: Sequence[str], task: Task) -> None:
    for joint in joints:
        if joint not in acting and not any(joint_of(s.name, joints) == joint for s in task.observation):
            raise ContractError(
                where=f"{stated.where}, {stated.source('joints')}, joint {joint}",
                expected=f"a signal of {task.name} that begins with its name",
                got="none",
                remedy="give the task of the robot that the policy was trained on",
            )


def _require_finite(stated: Stated, facts: Mapping[str, Mapping[str, float]]) -> None:
    for fact, values in facts.items():
        joint = next((joint for joint, value in values.items() if not math.isfinite(value)), None)
        if joint is not None:
            raise ContractError(
                where=f"{stated.where}, {stated.source(fact)}, joint {joint}",
                expected="a finite number",
                got=f"{values[joint]:g}",
                remedy="correct the key, or export the policy again with its library",
            )


def _missing(stated: Stated, joint: str, expected: str, part: str) -> ContractError:
    return ContractError(
        where=f"{stated.where}, joint {joint}",
        expected=expected,
        got=f"{stated.source('joints')} without it",
        remedy=f"add the key to a file for --contract, or give --recipe with [output] {part}",
    )
