"""`odeploy export --from module|torchscript|onnx`: which options belong to which, and who reads the model."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from odeploy_export.foreign_export import Say, export_foreign
from odeploy_export.recipe_option import prepared, recipe_for
from odeploy_export.sampling_options import refuse_given
from odeploy_export.sources.external import Foreign
from odeploy_export.sources.module_file import load_module
from odeploy_export.sources.onnx_model import from_onnx
from odeploy_export.sources.torch_module import from_module
from odeploy_export.sources.torchscript import from_torchscript
from odeploy_export.toml_files import actuation_for
from odeploy_runtime.errors import UsageError
from odeploy_runtime.policy_file.manifest import Manifest
from odeploy_sim.catalogue import get
from odeploy_sim.demonstrations.dataset import load
from odeploy_sim.tasks.task import Task

if TYPE_CHECKING:
    from odeploy_export.pipeline import Config


def export_model(config: "Config", say: Say) -> Manifest:
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


def _foreign(config: "Config", task: Task) -> Foreign:
    noise_size = config.noise_size or 0
    if config.source == "onnx":
        return from_onnx(config.trained, task)
    if config.source == "torchscript":
        return from_torchscript(config.trained, task, noise_size)
    place = str(config.trained)
    module, provenance = load_module(place, config.weights)
    return from_module(module, task, noise_size, Path(place).name, provenance)
