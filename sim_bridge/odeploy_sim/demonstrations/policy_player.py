"""A policy file played in this process, as by a server in lockstep.

Both answer from the same `inference.policy_state.PolicyState` and play chunks alike, so their actions are
equal tick by tick.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from odeploy_runtime.inference.onnx_policy import OnnxPolicy
from odeploy_runtime.inference.policy_state import PolicyState
from odeploy_runtime.policy_file.file import PolicyFile
from odeploy_runtime.robot.chunk_playback import ChunkOptions, Chunks
from odeploy_runtime.signals import require_same_names
from odeploy_sim.demonstrations.card import ExpertCard
from odeploy_sim.demonstrations.expert import Demonstrator
from odeploy_sim.experts import Expert
from odeploy_sim.tasks.task import Task


class Answer(NamedTuple):
    """A chunk of a policy, see `odeploy_runtime.robot.chunk_playback.Chunk`."""

    tick: int
    values: NDArray[np.float32]


def player(file: PolicyFile, task: Task, seed: int, options: ChunkOptions) -> Demonstrator:
    """Return a policy file as an expert.

    Args:
        file: the policy file.
        task: task that it plays.
        seed: seed of its noise.
        options: playback of chunks.

    Raises:
        ContractError: the policy has other signals than the task.
        UsageError: its horizon is too short for the options.
    """
    policy = OnnxPolicy(file)
    manifest = policy.manifest
    require_same_names(manifest.raw_names, task.observation_names, f"{file.path}, observation")
    require_same_names(manifest.action_names, task.action_names, f"{file.path}, action")
    chunking = options.chunking(manifest.horizon, paced=False)

    def begin(episode: int) -> Expert:
        state, chunks, ticks = PolicyState(manifest, seed), Chunks[Answer](chunking), iter(range(2**62))

        def act(observation: NDArray[np.float32]) -> NDArray[np.float32]:
            tick = next(ticks)
            if chunks.requests(tick):
                values = state.answer(policy, 0, episode, tick, observation).copy()
                chunks.take_in_virtual_time(Answer(tick, values))
            played = chunks.at(tick)
            assert played is not None  # each answer is there at once
            return played.values

        return act

    return Demonstrator(ExpertCard("policy", manifest.name, policy.fingerprint), begin)
