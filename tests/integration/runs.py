"""A finished run folder without a training: random weights at trained scale, written as by FPO."""

from pathlib import Path

from odeploy_runtime.typed_json import encode, to_json
from odeploy_sim.tasks.task import Task
from odeploy_train.policies.flow import FlowPolicy
from odeploy_train.runs import checkpoint
from odeploy_train.runs.folder import CARD, RunCard
from tests.policies import flow_policy


def saved_run(folder: Path, task: Task) -> FlowPolicy:
    """Write card and checkpoint of `flow_policy(task)`; return the policy."""
    policy = flow_policy(task)
    card = RunCard(
        method="fpo",
        kind="flow",
        task=task.name,
        data_hash=None,
        demos=None,
        seed=0,
        steps=0,
        config={},
        policy=encode(policy.config),
        versions={},
        git=None,
    )
    folder.mkdir(parents=True)
    (folder / CARD).write_text(to_json(card))
    checkpoint.save(folder, {"step": 0, "policy": policy.state_dict()})
    return policy
