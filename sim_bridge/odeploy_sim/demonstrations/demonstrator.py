"""Choice of the expert that shows a task: scripted, trained, or a policy file."""

import ast
import hashlib
import inspect
from pathlib import Path

from odeploy_runtime.errors import MissingError
from odeploy_runtime.policy_file.file import PolicyFile, read
from odeploy_runtime.robot.chunk_playback import ChunkOptions
from odeploy_sim.demonstrations.card import ExpertCard
from odeploy_sim.demonstrations.expert import Demonstrator
from odeploy_sim.experts import EXPERTS
from odeploy_sim.experts.trained import trained
from odeploy_sim.tasks.env import TaskEnv


def demonstrator(
    env: TaskEnv, policy: PolicyFile | None, seed: int, options: ChunkOptions | None = None
) -> Demonstrator:
    """Return the expert: the given policy file, or the task's script or trained file.

    Args:
        env: simulation in which the expert acts.
        policy: policy file.
        seed: seed of a policy's noise.
        options: playback of a policy's chunks; by default the policy is called at each tick.

    Raises:
        MissingError: the task has no expert, and no file is given.
        ContractError: the policy has other signals than the task.
    """
    task = env.task
    if policy is None:
        if task.name in EXPERTS:
            return _script(env)
        path = trained(task)
        if path is None:
            raise MissingError(
                where=f"task {task.name}",
                expected="a scripted expert, or a trained one that comes with odeploy",
                got="neither",
                remedy=f"make one (odeploy train expert --task {task.name}) and give its file with --policy FILE",
            )
        policy = read(path)
    from odeploy_sim.demonstrations.policy_player import player  # scripts need no onnxruntime

    return player(policy, task, seed, options or ChunkOptions())


def _script(env: TaskEnv) -> Demonstrator:
    make = EXPERTS[env.task.name]
    source = inspect.getsourcefile(make)
    assert source is not None
    card = ExpertCard(
        "scripted", getattr(make, "__name__", str(make)), script_fingerprint(Path(source).read_text())
    )
    return Demonstrator(card, lambda _episode: make(env))


def script_fingerprint(source: str) -> str:
    """Return SHA-256 of a script's statements alone.

    Comments, docstrings and imports are left out.
    """
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
            texts_and_imports = (ast.Import, ast.ImportFrom)
            node.body = [s for s in node.body if not (isinstance(s, texts_and_imports) or _is_text(s))]
    return hashlib.sha256(ast.unparse(tree).encode()).hexdigest()


def _is_text(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
