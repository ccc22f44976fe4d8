"""Who shows a task: its scripted expert, its trained one, or any policy file."""

import hashlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from runtime.errors import ContractError, MissingError
from sim_bridge.card import ExpertCard
from sim_bridge.experts import EXPERTS, Expert
from sim_bridge.task import TaskEnv
from sim_bridge.trained import trained


@dataclass(frozen=True)
class Demonstrator:
    """An expert, for collecting.

    Attributes:
        card: who it is.
        begin: the expert for the episode of that number, as new; the environment has just been reset.
    """

    card: ExpertCard
    begin: Callable[[int], Expert]


def demonstrator(env: TaskEnv, policy: Path | None, seed: int) -> Demonstrator:
    """The policy file if one is given, else the task's scripted expert, else its trained one.

    Args:
        env: what it is to act in.
        policy: a policy file.
        seed: of a policy's noise.

    Raises:
        MissingError: the task has no expert, and no file is given.
        ContractError: the policy has other signals than the task, or answers several actions at once.
    """
    task = env.task
    if policy is None and task.name in EXPERTS:
        return _script(env)
    file = policy or trained(task)
    if file is None:
        raise MissingError(
            where=f"task {task.name}",
            expected="a scripted expert, or a trained one that comes with odeploy",
            got="neither",
            remedy=f"make one (odeploy train expert --task {task.name}) and give its file with --policy FILE",
        )
    return _policy(file, env, seed)


def _script(env: TaskEnv) -> Demonstrator:
    make = EXPERTS[env.task.name]
    source = inspect.getsourcefile(make)
    assert source is not None
    fingerprint = hashlib.sha256(Path(source).read_bytes()).hexdigest()
    card = ExpertCard("scripted", getattr(make, "__name__", str(make)), fingerprint)
    return Demonstrator(card, lambda _episode: make(env))


def _policy(file: Path, env: TaskEnv, seed: int) -> Demonstrator:
    from runtime.noise import NoiseSource  # scripts need no onnxruntime
    from runtime.onnx_policy import OnnxPolicy
    from runtime.signals import require_same_names

    policy = OnnxPolicy.load(file)
    manifest = policy.manifest
    require_same_names(manifest.observation_names, env.task.observation_names, f"{file}, observation")
    require_same_names(manifest.action_names, env.task.action_names, f"{file}, action")
    if manifest.horizon != 1:
        raise ContractError(
            where=str(file),
            expected="one action per inference",
            got=f"{manifest.horizon}",
            remedy="export with horizon 1",
        )
    source = NoiseSource(manifest.noise, seed)

    def begin(episode: int) -> Expert:
        ticks = iter(range(2**62))  # numbered as a server numbers them
        return lambda observation: policy.infer(observation, source.draw(episode, next(ticks)))[0]

    return Demonstrator(ExpertCard("policy", manifest.name, policy.fingerprint), begin)
