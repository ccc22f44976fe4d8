"""Options of `odeploy export` for policies of other libraries, and their source."""

import logging
from dataclasses import dataclass, replace
from pathlib import Path

from odeploy_export.contract.apply import Applied, applied
from odeploy_export.contract.stated import Stated, from_side_file
from odeploy_export.graphs.action_output import AS_IT_IS
from odeploy_export.options import ReadingOptions
from odeploy_export.sources.external import External, from_external
from odeploy_export.sources.onnx_ends import EndNames
from odeploy_export.sources.onnx_model import from_onnx, stated_by
from odeploy_export.sources.source import Source
from odeploy_export.sources.torch_module import from_module
from odeploy_export.sources.torchscript import from_torchscript
from odeploy_export.toml_files import actuation_for, output_for, prepared, recipe_for
from odeploy_export.user_modules.python_file import load_module
from odeploy_runtime.errors import UsageError
from odeploy_sim.demonstrations.recorded_observations import recorded_observations
from odeploy_sim.tasks.task import Task

log = logging.getLogger(__name__)

_BESIDE = ("deploy.yaml", "../params/deploy.yaml")
"""Side files beside a policy, as unitree_rl_lab writes them."""


@dataclass(frozen=True, kw_only=True)
class ExternalOptions(ReadingOptions):
    """Options of a module, an archive or an ONNX file."""

    weights: Path | None = None
    """State dict of a module, by torch.save or as .safetensors, or a checkpoint that has it, perhaps FILE:KEY;
    leave it out if the code loads trained weights."""
    noise_size: int | None = None
    """Size D of the noise (B, D), for a module or a torchscript archive with noise as second input."""
    inputs: str | None = None
    """Inputs of an ONNX file that make up the observation, in order, separated by commas."""
    noise_input: str | None = None
    """Input of an ONNX file that takes noise."""
    output: str | None = None
    """Output of an ONNX file, or key or number of a module's output, with the actions; if not given the only one
    of their size."""
    actuation: Path | None = None
    """TOML of the robot's low-level control for the manifest, see `odeploy_export/toml_files.py`; if not
    given that of the task's own robot."""
    recipe: Path | None = None
    """TOML of how the observation of a module, archive or ONNX file is computed from the task's signals: history,
    scales, previous action, clock, operator's command; and of how its output is scaled (see
    `odeploy_export/toml_files.py`)."""
    contract: Path | None = None
    """YAML or JSON of what the training library states about the robot: names of joints, scale of actions, default
    pose, gains (`deploy.yaml` of Unitree). The metadata of an ONNX file are read without this option."""
    demos: str | None = None
    """Observations for the parity check and the golden rows: demonstrations, FILE.npz with an array `observations`
    (M, O), or FILE.parquet with columns named after the signals; if not given those of the run, otherwise the
    policy plays its task."""


def external_source(source: str, trained: Path, given: ExternalOptions, task: Task) -> Source:
    """Read a policy of another library, with what its file states about its robot.

    Args:
        source: `module`, `torchscript` or `onnx`.
        trained: its file.
        given: options.
        task: the robot's task.

    Raises:
        UsageError: an option that it does not have, or a missing one.
        ContractError: a policy or a stated fact that does not fit the task.
    """
    if given.noise_size is not None and given.noise_size < 1:
        raise UsageError(
            where="--noise-size",
            expected="at least 1",
            got=str(given.noise_size),
            remedy="leave it out for no noise",
        )
    stated = _stated(source, trained, given)
    fits = applied(
        stated,
        task,
        None if given.recipe is None else recipe_for(task, given.recipe),
        AS_IT_IS if given.recipe is None else output_for(task, given.recipe),
        None if given.actuation is None else actuation_for(task, given.actuation),
    )
    recorded = recorded_observations(given.demos, task) if given.demos else None
    if fits.recipe is not None:
        recorded = None if recorded is None else prepared(fits.recipe, task, recorded)
        task = replace(task, observation=fits.recipe.observation(task.action))
    made = from_external(
        _external(source, trained, given, task),
        task,
        recorded,
        fits.recipe,
        fits.output,
        places=fits.places,
        reading=given,
        stated=_provenance(stated, fits),
    )
    return replace(made, actuation=fits.actuation)


def _end_names(given: ExternalOptions) -> EndNames:
    parts = None if given.inputs is None else tuple(given.inputs.split(","))
    return EndNames(parts, given.noise_input, given.output)


def _stated(source: str, trained: Path, given: ExternalOptions) -> Stated:
    """Return what ONNX metadata and a side file state."""
    stated = stated_by(trained, _end_names(given)) if source == "onnx" else Stated(where=str(trained))
    path = given.contract
    if path is None:
        path = next((p for name in _BESIDE if (p := trained.parent / name).is_file()), None)
        if path is not None:
            log.info("contract: %s, found beside the policy", path.name)
    return stated if path is None else stated.joined(from_side_file(path))


def _provenance(stated: Stated, fits: Applied) -> dict[str, object]:
    for part, keys in (fits.sources or {}).items():
        log.info("contract: %s from %s", part, keys)
    derived = {"derived": dict(fits.sources)} if fits.sources else {}
    return derived | ({"metadata": dict(stated.unknown)} if stated.unknown else {})


def _external(source: str, trained: Path, given: ExternalOptions, task: Task) -> External:
    noise_size = given.noise_size or 0
    if source == "onnx":
        return from_onnx(trained, task, _end_names(given))
    if source == "torchscript":
        return from_torchscript(trained, task, noise_size)
    module, provenance = load_module(str(trained), given.weights)
    return from_module(module, task, noise_size, trained.name, provenance, given.output)
