"""Observations of a policy without demonstrations: it plays its task."""

import logging
from contextlib import closing
from itertools import count
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor

from odeploy_export.graphs.action_output import RAW_ACTION
from odeploy_export.kinds.table import deployed, kind_of
from odeploy_export.parity.check import outputs, run_in_batches
from odeploy_export.parity.rows import Array, Rows
from odeploy_runtime.errors import ContractError, MissingError
from odeploy_runtime.inference.onnx_policy import open_session
from odeploy_runtime.policy_file.manifest import Noise
from odeploy_runtime.policy_file.preparation import Preparation
from odeploy_runtime.policy_file.recipe import Recipe
from odeploy_sim.tasks.seeds import PROBES
from odeploy_sim.tasks.task import Task
from odeploy_train.runs.rollouts import Act, Rollouts

log = logging.getLogger(__name__)

_EPISODES = 4


def play_policy(policy: Any, task: Task) -> Array:
    """Play with torch, from zero noise if the policy takes any.

    Each chunk's first action is played.

    Returns:
        Observations. Shape (M, O).

    Raises:
        ContractError: a recurrent policy, whose state torch would have to carry.
    """
    kind, A = kind_of(policy), len(task.action)
    if kind.consecutive:
        raise ContractError(
            where=task.name,
            expected="demonstrations for a recurrent policy",
            got="none",
            remedy="give --demos",
        )
    deployment = deployed(policy, kind.options_of(noise="zero", candidates=1), A)
    answer = deployment.reference(torch.float32)

    def act(observation: Tensor) -> Tensor:
        zeros = np.zeros((len(observation), *deployment.noise.shape), np.float32)
        return torch.from_numpy(answer(observation.numpy(), zeros)[:, :A]).float()

    return _play(act, task)


def play_graph(model: onnx.ModelProto, task: Task, noise: Noise) -> Array:
    """Play with a graph, from zero noise if it takes any. Shape (M, O)."""
    session = open_session(model.SerializeToString(), "cpu", task.name)
    one_by_one = session.get_inputs()[0].shape[0] == 1

    def act(observation: Tensor) -> Tensor:
        rows = Rows(observation.numpy(), np.zeros((len(observation), *noise.shape), np.float32))
        actions = run_in_batches(session, rows, 1 if one_by_one else len(rows))
        return torch.from_numpy(actions[:, : len(task.action)]).float()

    return _play(act, task)


def play_recipe(model: onnx.ModelProto, task: Task, recipe: Recipe, noise: Noise) -> Array:
    """Play with a graph behind a recipe, from zero noise if it takes any.

    Args:
        model: the graph, with the network's own output if the recipe feeds it back.
        task: the task with the robot's own signals.
        recipe: how the observation is computed from them.
        noise: the noise contract.

    Returns:
        The policy's observations. Shape (M, O).
    """
    session, seen = open_session(model.SerializeToString(), "cpu", task.name), list[Array]()
    names = ("action", RAW_ACTION) if recipe.uses_raw_action else ("action",)
    zeros = np.zeros((1, *noise.shape), np.float32)

    def begin() -> Act:
        preparation, ticks = Preparation(recipe, len(task.action), task.rate_hz), count()

        def act(observation: Tensor) -> Tensor:
            tick = next(ticks)
            seen.append(preparation.observe(0, tick, observation.numpy()[0]).copy())
            action, *raw = outputs(session, Rows(seen[-1][None], zeros), 1, names)
            preparation.commit(0, tick, action[0, 0], raw[0][0, 0] if raw else None)
            return torch.from_numpy(action[:, 0])

        return act

    with closing(Rollouts(task, 1)) as rollouts:
        episodes = rollouts.play_with_state(begin, PROBES.seed(), _EPISODES)
    log.info("played for the parity check: %s", episodes.score(task))
    return np.stack(seen)


def _play(act: Act, task: Task) -> Array:
    if not task.simulated:
        raise MissingError(
            where=f"task {task.name}",
            expected="recorded observations, since it has no environment to play",
            got="none",
            remedy="add --demos: FILE.npz, FILE.parquet or a dataset's folder",
        )
    with closing(Rollouts(task, _EPISODES)) as rollouts:
        episodes = rollouts.play(act, PROBES.seed(), _EPISODES)
    log.info("played for the parity check: %s", episodes.score(task))
    return episodes.observations.numpy()
