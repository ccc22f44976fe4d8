"""A task's demonstrator: a given file before a script before a trained file, recorded on the card."""

import dataclasses
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from odeploy_runtime.errors import ContractError, MissingError
from odeploy_runtime.inference.noise import NoiseSource
from odeploy_runtime.inference.onnx_policy import OnnxPolicy
from odeploy_runtime.policy_file.file import read
from odeploy_sim.catalogue.mazes import MAZE_MEDIUM
from odeploy_sim.demonstrations import demonstrator as module
from odeploy_sim.demonstrations.demonstrator import demonstrator, script_fingerprint
from odeploy_sim.experts import maze as maze_module
from odeploy_sim.experts.trained import trained
from odeploy_sim.tasks.env import TaskEnv
from tests.policies import policy_path

OBSERVATION = np.array([0.5, -1.0, 0.1, 0.2, 2.0, 1.0], np.float32)
NOVEL = dataclasses.replace(MAZE_MEDIUM, name="maze-novel")


@pytest.fixture(scope="module")
def novel() -> Iterator[TaskEnv]:
    """A task without a script."""
    made = TaskEnv(NOVEL)
    yield made
    made.close()


def test_a_task_with_a_script_is_demonstrated_by_it(maze: TaskEnv) -> None:
    expert = demonstrator(maze, None, 0)
    source = Path(maze_module.__file__).read_bytes()
    assert (expert.card.kind, expert.card.name) == ("scripted", "MazeExpert")
    assert expert.card.fingerprint == script_fingerprint(source.decode())
    np.testing.assert_array_equal(expert.begin(0)(OBSERVATION), maze_module.MazeExpert(maze)(OBSERVATION))


def test_every_episode_begins_with_a_new_script(maze: TaskEnv) -> None:
    expert = demonstrator(maze, None, 0)
    assert expert.begin(0) is not expert.begin(1)


def test_a_given_file_takes_precedence_over_the_script(maze: TaskEnv, tmp_path: Path) -> None:
    file = policy_path(tmp_path, MAZE_MEDIUM)
    policy = OnnxPolicy.load(file)
    expert = demonstrator(maze, read(file), 0)
    assert (expert.card.kind, expert.card.name, expert.card.fingerprint) == (
        "policy",
        "test-mlp",
        policy.fingerprint,
    )
    expected = policy.infer(OBSERVATION, np.zeros((1, 0), np.float32)).copy()[0]
    np.testing.assert_array_equal(expert.begin(0)(OBSERVATION), expected)


def test_a_policys_noise_is_numbered_by_episode_and_tick_as_on_a_server(maze: TaskEnv, tmp_path: Path) -> None:
    file = policy_path(tmp_path, MAZE_MEDIUM, "flow")
    expert, policy = demonstrator(maze, read(file), 7), OnnxPolicy.load(file)
    source = NoiseSource(policy.manifest.noise, 7)
    for episode in (0, 3):
        act = expert.begin(episode)
        for tick in range(3):
            got = act(OBSERVATION).copy()
            np.testing.assert_array_equal(got, policy.infer(OBSERVATION, source.draw(episode, tick))[0])


def test_a_trained_file_is_found_by_the_name_of_its_task(tmp_path: Path) -> None:
    assert trained(NOVEL, tmp_path) is None
    (tmp_path / "maze-novel.onnx").touch()
    assert trained(NOVEL, tmp_path) == tmp_path / "maze-novel.onnx"


def test_a_task_without_a_script_is_demonstrated_by_its_trained_expert(
    novel: TaskEnv, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = policy_path(tmp_path, MAZE_MEDIUM).rename(tmp_path / "maze-novel.onnx")
    monkeypatch.setattr(module, "trained", lambda task: trained(task, tmp_path))
    assert demonstrator(novel, None, 0).card.fingerprint == OnnxPolicy.load(file).fingerprint


def test_the_error_for_a_task_without_an_expert_lists_remedies(novel: TaskEnv) -> None:
    with pytest.raises(MissingError) as raised:
        demonstrator(novel, None, 0)
    assert raised.value.where == "task maze-novel"
    assert "a scripted expert" in raised.value.expected
    assert "odeploy train expert --task maze-novel" in raised.value.remedy
    assert "--policy" in raised.value.remedy


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"observation": MAZE_MEDIUM.observation[::-1]}, "same names, another order"),
        ({"action": MAZE_MEDIUM.action[::-1]}, "same names, another order"),
    ],
)
def test_a_policy_file_that_does_not_match_the_task_is_refused(
    maze: TaskEnv, tmp_path: Path, changes: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maze, "task", dataclasses.replace(MAZE_MEDIUM, **changes))
    with pytest.raises(ContractError, match=message):
        demonstrator(maze, read(policy_path(tmp_path, MAZE_MEDIUM)), 0)


def test_scripts_need_no_onnxruntime() -> None:
    code = (
        "import sys; sys.modules['onnxruntime'] = None\n"
        "from odeploy_sim.catalogue import get; from odeploy_sim.tasks.env import TaskEnv\n"
        "from odeploy_sim.demonstrations.demonstrator import demonstrator\n"
        "print(demonstrator(TaskEnv(get('maze-medium')), None, 0).card.name)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "MazeExpert\n", done.stderr


def test_a_scripts_fingerprint_depends_only_on_its_statements() -> None:
    plain = "from a import b\n\n\ndef act(x):\n    return b(2 * x)\n"
    documented = '"""An expert."""\n\nfrom c.d import b\n'
    moved = documented + '\ndef act(x):\n    """Return twice x."""\n    return b(2 * x)  # twice\n'
    assert script_fingerprint(plain) == script_fingerprint(moved)
    assert script_fingerprint(plain) != script_fingerprint(plain.replace("2", "3"))
