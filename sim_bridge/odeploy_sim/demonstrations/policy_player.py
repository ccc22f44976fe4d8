"""A policy file as an expert whose episodes can be recorded."""

from odeploy_runtime.inference.onnx_policy import OnnxPolicy
from odeploy_runtime.policy_file.file import PolicyFile
from odeploy_runtime.robot.chunk_playback import ChunkOptions
from odeploy_runtime.robot.policy_player import PolicyPlayer
from odeploy_runtime.signals import require_same_names
from odeploy_sim.demonstrations.card import ExpertCard
from odeploy_sim.demonstrations.expert import Demonstrator
from odeploy_sim.experts import Expert
from odeploy_sim.tasks.task import Task


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
    options.chunking(manifest.horizon, paced=False)  # refuses early

    def begin(episode: int) -> Expert:
        played = PolicyPlayer(policy, seed, options)
        played.reset(episode)
        return played.act

    return Demonstrator(ExpertCard("policy", manifest.name, policy.fingerprint), begin)
