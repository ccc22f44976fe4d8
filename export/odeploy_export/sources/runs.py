"""Where a policy comes from: a training run of ours, or a model that another library saved."""

import hashlib
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from odeploy_export.parity.gate import Array, Exportable, held, reference
from odeploy_export.sources.normaliser import BESIDE, read_normaliser
from odeploy_export.sources.sb3 import algorithm, library, mlp_policy, trained_normalised
from odeploy_export.sources.sb3_zip import read_zip
from odeploy_runtime.errors import MissingError
from odeploy_runtime.policy_file.manifest import ANCESTRAL, Sampler
from odeploy_sim.catalogue import get
from odeploy_sim.demonstrations.dataset import load
from odeploy_sim.tasks.task import Task
from odeploy_train.modules.ode import uniform_grid
from odeploy_train.policies.diffusion import DEPLOYED_STEPS, DiffusionPolicy
from odeploy_train.policies.flow import FlowPolicy
from odeploy_train.policies.recurrent import RecurrentPolicy
from odeploy_train.runs.folder import load_policy
from odeploy_train.runs.rollouts import Act, Rollouts

_SEED = 2**41  # of the episodes that are played for the gate
_EPISODES = 4


@dataclass(frozen=True)
class Source:
    """A trained policy and what is known of it.

    Attributes:
        policy: in evaluation mode.
        method: how it was trained, as the manifest says it.
        name: for the file, if the user gives none.
        task: that it was trained on.
        recorded: observations that it meets in use. Shape (M, O).
        provenance: JSON for the manifest, without paths.
        notes: lines for the user.
    """

    policy: Exportable
    method: str
    name: str
    task: Task
    recorded: Array
    provenance: dict[str, Any]
    notes: tuple[str, ...] = ()


def from_run(folder: Path, demos: str | None) -> Source:
    """A finished training run of ours; its recorded observations are those of its demonstrations.

    Where reward alone taught it, it plays for them.
    """
    policy, card = load_policy(folder)
    task, name = get(card.task), folder.resolve().name
    demos = demos or card.demos
    if demos is None and not isinstance(policy, RecurrentPolicy):
        recorded, note = _play(policy, task)
        return Source(policy, card.method, name, task, recorded, card.provenance, (note,))
    assert demos is not None
    recorded = load(demos, task).observations
    return Source(policy, card.method, name, task, recorded, card.provenance)


def from_sb3(path: Path, task: Task, normaliser_path: Path | None, demos: str | None) -> Source:
    """A model that stable-baselines3 or sb3-contrib saved; without demonstrations it plays for its observations.

    Raises:
        MissingError: a file is not there, or a normaliser was not given to a model that was trained with one.
        FormatError: a file is damaged.
        ContractError: a kind of policy that is not known, or one of another task.
    """
    model = read_zip(path)
    name, lib = algorithm(model), library(model)
    notes = []
    if normaliser_path is None:
        normaliser_path = next((p for p in (path.parent / n for n in BESIDE) if p.exists()), None)
        if normaliser_path is not None:
            notes.append(f"normaliser: {normaliser_path.name}, found beside the model")
        elif trained_normalised(model):
            raise MissingError(
                where=str(path),
                expected="the VecNormalize that it was trained with",
                got="no --normaliser, and none beside the model",
                remedy="give --normaliser FILE: normaliser.npz, or what VecNormalize.save wrote",
            )
    normaliser = None if normaliser_path is None else read_normaliser(normaliser_path)
    policy = mlp_policy(model, task, normaliser)
    if demos is None:
        recorded, note = _play(policy, task)
        notes.append(note)
    else:
        recorded = load(demos, task).observations
    policy.see(torch.from_numpy(recorded))
    provenance = {
        "library": lib,
        "algorithm": name,
        "source_hash": model.hash,
        "normaliser_hash": None if normaliser_path is None else _hash(normaliser_path),
        "steps": model.fields.get("num_timesteps"),
        "seed": model.fields.get("seed"),
        "versions": model.versions,
    }
    return Source(policy, f"{name} ({lib})", f"{task.name}-{name}", task, recorded, provenance, tuple(notes))


def play(act: Act, task: Task) -> tuple[Array, str]:
    """A few episodes by a policy itself: what it sees, shape (M, O), and what it is worth."""
    with closing(Rollouts(task, _EPISODES)) as rollouts:
        episodes = rollouts.play(act, _SEED, _EPISODES)
    return episodes.observations.numpy(), f"played for the gate: {episodes.score(task)}"


def _play(policy: Exportable, task: Task) -> tuple[Array, str]:
    """The same of a policy in torch, from zero noise if it takes any. Of a chunk it plays the first action."""
    policy, sampler = held(policy, candidates=1), None
    if isinstance(policy, FlowPolicy):
        sampler = Sampler("euler", 10, uniform_grid(10))
    elif isinstance(policy, DiffusionPolicy):
        steps = min(DEPLOYED_STEPS, policy.levels.steps)
        sampler = Sampler(ANCESTRAL, steps, policy.levels.t_grid(steps))
    answer, A = reference(policy, sampler, torch.float32), len(task.action)
    D = policy.config.chunk_size if isinstance(policy, FlowPolicy) else A
    draws = sampler.steps if sampler is not None and sampler.solver == ANCESTRAL else 1

    def act(observation: Tensor) -> Tensor:
        zeros = np.zeros((len(observation), 1, draws, D), np.float32)
        return torch.from_numpy(answer(observation.numpy(), zeros)[:, :A]).float()

    return play(act, task)


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
