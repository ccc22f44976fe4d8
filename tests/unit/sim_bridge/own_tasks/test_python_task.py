"""Tasks in Python files: loading, faults, environments in other processes."""

from pathlib import Path

import numpy as np
import pytest

from odeploy_runtime.errors import ContractError, MissingError, UsageError
from odeploy_sim.own_tasks.reference import resolve
from odeploy_sim.tasks.env import TaskEnv
from odeploy_sim.tasks.vector import make_vector

TASK_FILE = """
import gymnasium
import numpy as np
from gymnasium.spaces import Box
from odeploy_runtime.signals import Signal
from odeploy_sim.tasks.task import Task

class Cart(gymnasium.Env):
    observation_space = Box(-9, 9, (2,))
    action_space = Box(-1, 1, (1,))
    def __init__(self, push=1.0, render_mode=None):
        self.push = push
    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.state = self.np_random.normal(size=2).astype(np.float32)
        return self.state, {}
    def step(self, action):
        self.state = self.state + np.float32(self.push) * np.array([0, action[0]], np.float32)
        return self.state, 1.0, False, False, {}

def make_cart(**arguments):
    return Cart(**arguments)

TASK = Task(
    name="cart",
    observation=(Signal("x", "m"), Signal("x_velocity", "m/s")),
    action=(Signal("force", "N", -1, 1),),
    rate_hz=50,
    horizon=20,
    make=make_cart,
    make_arguments={"push": 2.0},
)
OTHER = 3
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "cart_task.py").write_text(TASK_FILE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_task_of_a_file_is_simulated(folder: Path) -> None:
    task = resolve("./cart_task.py:TASK")
    assert task.reference == f"{folder / 'cart_task.py'}:TASK"
    assert task.safe_action == (0.0,)
    env = TaskEnv(task)
    before = env.reset(seed=3)
    step = env.step(np.array([0.5], np.float32))
    np.testing.assert_allclose(step.observation - before, [0, 1.0], rtol=1e-6)


def test_its_environments_run_in_workers_as_in_one_process(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = resolve("cart_task.py:TASK")
    monkeypatch.chdir("/")  # workers find the file from anywhere
    actions = np.random.default_rng(0).uniform(-1, 1, (30, 2, 1)).astype(np.float32)
    played = []
    for workers in (0, 2):
        envs = make_vector(task, 2, seed=1, workers=workers)
        observations = [envs.reset()[0].copy()]
        observations += [envs.step(action)[0].copy() for action in actions]
        envs.close()
        played.append(np.stack(observations))
    np.testing.assert_array_equal(played[0], played[1])


def test_a_module_of_an_installed_package_is_a_reference_too(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(folder)
    task = resolve("cart_task:TASK")
    assert (task.name, task.reference) == ("cart", "cart_task:TASK")
    TaskEnv(task).close()


@pytest.mark.parametrize(
    ("reference", "error", "message"),
    [
        ("./none.py:TASK", MissingError, "no such file"),
        ("./cart_task.py:TSAK", MissingError, "a Task: TASK, got no TSAK"),
        ("./cart_task.py", UsageError, "name one of TASK"),
        ("./cart_task.py:OTHER", UsageError, "expected a Task, got int"),
        ("no_such_package.tasks:TASK", MissingError, "an installed module no_such_package.tasks"),
    ],
)
def test_a_wrong_reference_is_one_line_with_the_remedy(
    folder: Path, reference: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error) as raised:
        resolve(reference)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("code", "fault"), [("x = 1\n1 / 0\n", "ZeroDivisionError"), ("x = 1\ndef f(:\n", "SyntaxError")]
)
def test_a_file_that_raises_on_import_is_named_with_its_line(folder: Path, code: str, fault: str) -> None:
    (folder / "broken.py").write_text(code)
    with pytest.raises(UsageError, match=rf"broken\.py:2: expected code that imports, got {fault}"):
        resolve("./broken.py:TASK")


def test_a_task_may_not_take_a_catalogued_name(folder: Path) -> None:
    (folder / "thief.py").write_text(TASK_FILE.replace('name="cart"', 'name="hopper"'))
    with pytest.raises(UsageError, match="hopper, which is catalogued"):
        resolve("./thief.py:TASK")


@pytest.mark.parametrize("method", ["reset", "step"])
def test_an_environment_that_raises_is_reported_with_its_line(folder: Path, method: str) -> None:
    place = "super().reset(seed=seed)" if method == "reset" else "self.state = self.state +"
    code = TASK_FILE.replace(place, f"raise RuntimeError('gripper jammed')\n        {place}", 1)
    (folder / "jammed.py").write_text(code)
    task = resolve("./jammed.py:TASK")
    with pytest.raises(ContractError, match=rf"{method} at .*jammed\.py:\d+: .*gripper jammed"):
        TaskEnv(task).step(np.zeros(1, np.float32))


def test_action_limits_beyond_the_environments_own_are_refused(folder: Path) -> None:
    (folder / "wide.py").write_text(
        TASK_FILE.replace('Signal("force", "N", -1, 1)', 'Signal("force", "N", -2, 1)')
    )
    with pytest.raises(ContractError, match="action force: expected limits within the environment's, -1 to 1"):
        TaskEnv(resolve("./wide.py:TASK"))


def test_a_missing_success_key_is_refused(folder: Path) -> None:
    (folder / "key.py").write_text(TASK_FILE.replace("rate_hz=50", 'rate_hz=50, success_key="done"'))
    env = TaskEnv(resolve("./key.py:TASK"))
    env.reset(0)
    with pytest.raises(ContractError, match="'done' in the info of each step"):
        env.step(np.zeros(1, np.float32))
