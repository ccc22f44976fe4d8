"""A foreign policy is brought to the form of ours, held against its references, and written."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, cast

import numpy as np
import onnx
import onnxruntime as ort
import torch
from numpy.typing import NDArray
from torch import Tensor

from odeploy_export.graphs.rewrites import Precision, in_precision
from odeploy_export.options import Config, refuse_given
from odeploy_export.parity.deviation import TOLERANCES, column_names, worst_deviation
from odeploy_export.parity.gate import Array, Exportable, Rows, gate_rows, run_in_batches
from odeploy_export.sources.adapt import finish
from odeploy_export.sources.external import Foreign
from odeploy_export.sources.module_file import load_module
from odeploy_export.sources.onnx_model import from_onnx
from odeploy_export.sources.runs import play
from odeploy_export.sources.torch_module import from_module
from odeploy_export.sources.torchscript import from_torchscript
from odeploy_export.toml_files import actuation_for, prepared, recipe_for
from odeploy_export.writer import (
    ACTION_SEMANTICS,
    RECORDED_ROWS,
    golden_picks,
    golden_rows,
    observed_ranges,
    write_policy,
)
from odeploy_runtime.errors import ParityError, UsageError
from odeploy_runtime.inference.onnx_policy import open_session
from odeploy_runtime.policy_file.actuation import Actuation
from odeploy_runtime.policy_file.manifest import MANIFEST_VERSION, Manifest, Noise, Parity
from odeploy_runtime.policy_file.recipe import Recipe
from odeploy_runtime.signals import half_ranges, highs, lows
from odeploy_sim.catalogue import get
from odeploy_sim.demonstrations.dataset import load
from odeploy_sim.tasks.task import Task
from odeploy_train.modules.running_moments import moments

Say = Callable[[str], None]


def silent(_: str) -> None:
    """Says nothing."""


def export_model(config: Config, say: Say) -> Manifest:
    """Reads, gates and writes a model that was not trained here.

    Raises:
        UsageError: an option that the model cannot have, or no task.
    """
    foreign_to, made_elsewhere = f"--from {config.source}", "a policy of somebody else's make"
    refuse_given(config, ("solver", "steps", "t_grid", "candidates"), "a flow policy of ours", made_elsewhere)
    refuse_given(config, ("normaliser",), "--from sb3", foreign_to)
    if config.source != "module":
        refuse_given(config, ("weights",), "--from module", foreign_to)
    if config.source == "onnx":
        refuse_given(config, ("noise_size", "noise"), "a torch module with noise", foreign_to)
    if config.noise_size is None:
        refuse_given(config, ("noise",), "--noise-size too", "a model without noise")
    elif config.noise_size < 1:
        raise UsageError(
            where="--noise-size",
            expected="at least 1",
            got=str(config.noise_size),
            remedy="leave it out for no noise",
        )
    if config.closed_loop:
        raise UsageError(where="--closed-loop", expected="a run", got=foreign_to, remedy="leave the option out")
    if config.task is None:
        raise UsageError(
            where=foreign_to,
            expected="--task, which the model does not name",
            got="none",
            remedy="give a name that `odeploy tasks` lists",
        )
    task, recipe, recorded = get(config.task), None, None
    actuation = actuation_for(task, config.actuation)
    if config.recipe is not None:
        recipe = recipe_for(task, config.recipe)
        if config.demos is None:
            raise UsageError(
                where="--recipe",
                expected="--demos too, whose observations it is tried on",
                got="none",
                remedy=f"make some: odeploy collect {task.name} --out demos-v0",
            )
        recorded = prepared(recipe, task, load(config.demos, task).observations)
        task = replace(task, observation=recipe.observation(task.action))
    return export_foreign(
        _foreign(config, task),
        task,
        config.out,
        name=config.name,
        noise=config.noise or "normal",
        demos=config.demos,
        recorded=recorded,
        tolerance=config.tolerance,
        precision=config.precision,
        providers=config.provider,
        recipe=recipe,
        actuation=actuation,
        sign=config.sign,
        say=say,
    )


def _foreign(config: Config, task: Task) -> Foreign:
    noise_size = config.noise_size or 0
    if config.source == "onnx":
        return from_onnx(config.trained, task)
    if config.source == "torchscript":
        return from_torchscript(config.trained, task, noise_size)
    place = str(config.trained)
    module, provenance = load_module(place, config.weights)
    return from_module(module, task, noise_size, Path(place).name, provenance)


def export_foreign(
    foreign: Foreign,
    task: Task,
    out: Path,
    *,
    name: str | None = None,
    noise: Literal["zero", "normal"] = "normal",
    demos: str | None = None,
    recorded: Array | None = None,
    tolerance: float | None = None,
    precision: Precision = "f32",
    providers: Sequence[str] = ("cpu",),
    recipe: Recipe | None = None,
    actuation: Actuation | None = None,
    sign: Path | None = None,
    say: Say = silent,
) -> Manifest:
    """Finishes, gates and writes.

    Args:
        foreign: the policy.
        task: that it was trained on.
        out: the file to write.
        name: for the manifest.
        noise: what is fed to a policy that takes noise.
        demos: observations for the gate.
        recorded: the same as an array of shape (M, O); with neither, the policy plays the task for them.
        tolerance: largest error, on unit scale; None is that of the precision.
        precision: of weights and products.
        providers: on which it is held against its references.
        recipe: what makes the policy's observation, that of `task`, of the robot's signals.
        actuation: what is beside the motors, for the manifest.
        sign: secret key.
        say: takes the lines for the user.

    Raises:
        ContractError: a policy that does not fit the task, or a graph that cannot be served.
        ParityError: the graph computes something else than its references; nothing was written.
    """
    foreign.refuse_nan()
    contract, horizon = foreign.noise(noise), foreign.horizon(task)
    graph = finish(foreign.model, task.observation, task.action, foreign.noise_size, horizon, foreign.where)
    for note in (*foreign.notes, *graph.notes):
        say(note)
    if recorded is None:
        recorded = load(demos, task).observations if demos else _played(graph.model, task, contract, say)
    rows = _rows(recorded, contract)
    answers = [_clipped(answer, task) for answer in _answered(foreign, rows, task, say)]
    model, picks = in_precision(graph.model, precision), golden_picks()
    sessions = [open_session(model.SerializeToString(), provider, foreign.where) for provider in providers]
    allowed = TOLERANCES[precision] if tolerance is None else tolerance
    manifest = Manifest(
        version=MANIFEST_VERSION,
        name=name or foreign.name,
        method=foreign.method,
        kind="mlp",  # for a reader: one pass, no sampler
        task=task.name,
        rate_hz=task.rate_hz,
        horizon=horizon,
        observation=task.observation,
        action=task.action,
        action_semantics=ACTION_SEMANTICS,
        noise=contract,
        sampler=None,
        parity=tuple(_gate(foreign, s, rows, answers, graph.batches, task, allowed) for s in sessions),
        golden=golden_rows(rows.observation[picks], rows.noise[picks], answers[-1][picks]),
        provenance=dict(foreign.provenance) | ({} if precision == "f32" else {"precision": precision}),
        actuation=actuation,
        recipe=recipe,
        observed=observed_ranges(recorded),
    )
    write_policy(model, manifest, out, sign)
    return manifest


@dataclass(frozen=True)
class _Spread:
    """Of the observations; all of a policy that `gate_rows` looks at."""

    observation_mean: Tensor
    observation_std: Tensor


def _rows(recorded: Array, noise: Noise) -> Rows:
    spread = _Spread(*moments(torch.from_numpy(recorded).double()))
    picks = np.linspace(0, len(recorded) - 1, RECORDED_ROWS).astype(int)
    return gate_rows(cast(Exportable, spread), recorded[picks], noise)


def _played(model: onnx.ModelProto, task: Task, noise: Noise, say: Say) -> Array:
    session = open_session(model.SerializeToString(), "cpu", task.name)
    one_by_one = session.get_inputs()[0].shape[0] == 1

    def act(observation: Tensor) -> Tensor:
        rows = Rows(observation.numpy(), np.zeros((len(observation), *noise.shape), np.float32))
        actions = run_in_batches(session, rows, 1 if one_by_one else len(rows))
        return torch.from_numpy(actions[:, : len(task.action)]).float()

    recorded, note = play(act, task)
    say(note)
    return recorded


def _answered(foreign: Foreign, rows: Rows, task: Task, say: Say) -> list[NDArray[np.float64]]:
    answers = foreign.answers(rows, task.action)
    low, high = lows(task.action), highs(task.action)
    beyond = int(((answers[0] < low) | (answers[0] > high)).any(axis=(1, 2)).sum())
    if beyond:
        say(f"limits: {beyond} of {len(rows)} answers lay beyond the task's, and were clipped")
    return answers


def _clipped(answer: NDArray[np.float64], task: Task) -> NDArray[np.float64]:
    """Shapes (M, H, A) -> (M, D)."""
    inside: NDArray[np.float64] = np.clip(answer, lows(task.action), highs(task.action))
    return inside.reshape(len(inside), -1)


def _gate(
    foreign: Foreign,
    session: ort.InferenceSession,
    rows: Rows,
    answers: list[NDArray[np.float64]],
    batches: tuple[int, ...],
    task: Task,
    tolerance: float,
) -> Parity:
    horizon, where = answers[0].shape[1] // len(task.action), foreign.where
    scale, names = np.tile(half_ranges(task.action), horizon), column_names(task.action, horizon)
    worst = 0.0
    try:
        for batch in batches:
            got, at = run_in_batches(session, rows, batch), f"at batch {batch}"
            worst = max(worst, worst_deviation(got, answers, scale, names, tolerance, where, at))
    except ParityError as error:
        raise ParityError(
            where=error.where,
            expected=error.expected.replace("torch and", f"{foreign.witness} and"),
            got=error.got.replace("from torch", f"from {foreign.witness}"),
            remedy="nothing was written; if float32 rounding alone is the cause, give a larger --tolerance",
        ) from None
    return Parity(session.get_providers()[0], worst, tolerance, len(rows), batches)
