"""Policies of our training runs, and models that stable-baselines3 saved."""

import hashlib
import logging
from pathlib import Path

import torch

from odeploy_export.options import ReadingOptions
from odeploy_export.sb3.mlp import algorithm, dictionary_keys, library, mlp_policy, trained_normalised
from odeploy_export.sb3.normaliser import BESIDE, read_normaliser
from odeploy_export.sb3.observation_order import places_of_keys, required_order
from odeploy_export.sb3.saved_model import read_zip
from odeploy_export.sources.play import play_policy
from odeploy_export.sources.source import Source
from odeploy_runtime.errors import ContractError, MissingError
from odeploy_runtime.policy_file.manifest import Manifest
from odeploy_runtime.regular_file import DATA_BYTES, read_regular
from odeploy_sim.demonstrations.recorded_observations import recorded_observations
from odeploy_sim.own_tasks.named import named
from odeploy_sim.tasks.task import Task
from odeploy_train.policies.kinds import Policy
from odeploy_train.runs.folder import load_policy

log = logging.getLogger(__name__)

_LAST = "last"  # in the provenance of a file of a run's last policy, beside which the run keeps the best


def from_run(
    folder: Path, demos: str | None, reference: str | Task | None = None, *, last: bool = False
) -> Source:
    """Read a finished training run.

    Its recorded observations are those of its demonstrations. A policy trained by reward alone plays its task.

    Args:
        folder: folder of the run.
        demos: dataset of the recorded observations; None for the run's own.
        reference: the run's task, or how a command line names it; None for a catalogued one.
        last: whether to read the last policy of a run that keeps the best one.

    Raises:
        MissingError: a task that is not catalogued, and no reference.
        ContractError: a run of another task.
    """
    policy, card = load_policy(folder, last=last)
    task, name = named(card.stored_task(str(folder)), reference), folder.resolve().name
    demos = demos or card.demos
    recorded = play_policy(policy, task) if demos is None else recorded_observations(demos, task)
    provenance = card.provenance | ({_LAST: True} if last else {})
    return Source(policy, card.method, name, task, recorded, provenance)


def policy_of(folder: Path, manifest: Manifest) -> Policy:
    """Return the policy of the run that a file was exported from.

    Raises:
        ContractError: a run of another method.
    """
    policy, card = load_policy(folder, last=manifest.provenance.get(_LAST) is True)
    if card.method != manifest.method:
        raise ContractError(
            where=str(folder),
            expected=f"a run of {manifest.method}",
            got=card.method,
            remedy="give the run that the file was exported from",
        )
    return policy


def from_sb3(
    path: Path,
    task: Task,
    normaliser_path: Path | None,
    demos: str | None,
    reading: ReadingOptions = ReadingOptions(),
) -> Source:
    """Read a model that stable-baselines3 or sb3-contrib saved.

    Without demonstrations it plays its task.

    Args:
        path: the zip of model.save.
        task: task that it was trained on.
        normaliser_path: its VecNormalize; `none` for a training without one, None for a file beside the model.
        demos: demonstrations.
        reading: how to read what the file leaves open.

    Raises:
        UsageError: the file leaves open how it was trained, and no option says it.
        MissingError: a file is not there, or a normaliser was not given to a model that was trained with one.
        FormatError: a file is damaged.
        ContractError: an unknown type of policy, or another task's.
    """
    model = read_zip(path)
    name, lib = algorithm(model), library(model)
    if str(normaliser_path) == "none":
        normaliser_path = None
    elif normaliser_path is None:
        normaliser_path = next((p for p in (path.parent / n for n in BESIDE) if p.exists()), None)
        if normaliser_path is not None:
            log.info("normaliser: %s, found beside the model", normaliser_path.name)
        elif trained_normalised(model):
            raise MissingError(
                where=str(path),
                expected="the VecNormalize of its training",
                got="no --normaliser, and none beside the model",
                remedy="give --normaliser FILE, which VecNormalize.save wrote, or --normaliser none",
            )
    normaliser = None if normaliser_path is None else read_normaliser(normaliser_path)
    keys = dictionary_keys(model) or required_order(task, reading.observation_order, str(path))
    places = None if keys is None or keys == task.observation_keys else places_of_keys(task, keys)
    policy = mlp_policy(model, task, normaliser, reading.actions, places)
    recorded = play_policy(policy, task) if demos is None else recorded_observations(demos, task)
    policy.see(torch.from_numpy(recorded))
    provenance = {
        "library": lib,
        "algorithm": name,
        "source_hash": model.hash,
        "normaliser_hash": None if normaliser_path is None else _hash(normaliser_path),
        **({} if keys is None else {"observation_order": list(keys)}),
        **({} if reading.actions is None else {"actions": reading.actions}),
        "steps": model.fields.get("num_timesteps"),
        "seed": model.fields.get("seed"),
        "versions": model.versions,
    }
    return Source(policy, f"{name} ({lib})", f"{task.name}-{name}", task, recorded, provenance)


def _hash(path: Path) -> str:
    return hashlib.sha256(read_regular(path, DATA_BYTES)).hexdigest()
