"""A task in the user's own file, from demonstrations to the bench, by its reference alone."""

import contextlib
from pathlib import Path

import numpy as np
import pytest
import torch

from odeploy_runtime.errors import ContractError, MissingError, RelayedError
from odeploy_runtime.policy_file.file import read
from odeploy_runtime.realtime.serving import serving
from odeploy_runtime.trace.reader import read_trace
from tests.integration.programs import in_process, odeploy
from tests.integration.test_bad_input import assert_one_line

# A Dict observation without limits; no physics, no success. Its name is not catalogued.
TASK = """
import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict
from odeploy_runtime.signals import Signal
from odeploy_sim.tasks.task import Task

class Cart(gymnasium.Env):
    metadata = {"render_modes": ["rgb_array"]}
    observation_space = Dict({"place": Box(-np.inf, np.inf, (1,)), "speed": Box(-np.inf, np.inf, (1,))})
    action_space = Box(-1, 1, (1,))
    def __init__(self, render_mode=None):
        self.render_mode = render_mode
    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place, self.speed = self.np_random.normal(size=2)
        return self._observation(), {}
    def step(self, action):
        self.speed += 0.1 * float(action[0])
        self.place += 0.1 * self.speed
        return self._observation(), -self.place**2, False, False, {}
    def render(self):
        return np.full((32, 32, 3), 128, np.uint8)
    def _observation(self):
        return {"place": np.array([self.place], np.float32), "speed": np.array([self.speed], np.float32)}

TASK = Task("cart", (Signal("place", "m"), Signal("speed", "m/s")), (Signal("force", "N", -1, 1),), 200, 20,
    observation_keys=("place", "speed"), make=Cart)
"""
NETWORK = """
import torch

class Law(torch.nn.Module):
    def forward(self, observation):
        return -observation.sum(dim=1, keepdim=True).clamp(-1, 1)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("own")
    (path / "cart.py").write_text(TASK)
    (path / "law.py").write_text(NETWORK)
    return path


@pytest.fixture(scope="module")
def law(folder: Path) -> Path:
    out, task = folder / "law.onnx", f"{folder}/cart.py:TASK"
    in_process("export", f"{folder}/law.py:Law", "--from", "module", "--task", task, "--out", str(out))
    return out


def test_a_file_task_passes_through_every_verb_by_its_reference(folder: Path, law: Path) -> None:
    task, demos, run, bc = f"{folder}/cart.py:TASK", folder / "cart-v0", folder / "bc", folder / "bc.onnx"
    threads = torch.get_num_threads()
    in_process("collect", task, "--policy", str(law), "--episodes", "3", "--out", str(demos))
    assert "cart" in in_process("demos", "show", str(demos), "--task", task)
    short = "--steps", "20", "--score-episodes", "1"
    in_process("train", "bc", "--task", task, "--demos", str(demos), "--out", str(run), *short)
    in_process("export", str(run), "--task", task, "--out", str(bc))
    torch.set_num_threads(threads)
    in_process("verify", str(bc), "--task", task, "--episodes", "1")
    assert "cart" in in_process("score", task, "--policy", str(bc), "--episodes", "2")
    trace, short = folder / "run.trace", ("--rates", "100", "--episodes", "1")
    lockstep = "--mode", "lockstep", "--episodes", "2"
    with serving(bc) as endpoint, contextlib.chdir(folder):
        in_process("sim", "cart.py:TASK", "--endpoint", endpoint, *lockstep, "--trace", str(trace))
        in_process("bench", str(bc), "--task", "cart.py:TASK", *short, "--out", "bench")
    in_process("film", str(trace), "--task", task, "--out", str(folder / "run.png"))
    in_process("collect", task, "--from-trace", str(trace), "--out", str(folder / "again-v0"))

    header, manifest = read_trace(trace).header, read(bc).manifest
    assert header.task == manifest.task == "cart"
    assert header.task_digest == manifest.task_digest
    stored = [*run.glob("*.json"), *demos.rglob("*.json"), *(folder / "bench").glob("*.json")]
    assert not [path for path in stored if "cart.py" in path.read_text()]


def test_files_of_an_own_task_ask_for_it_by_name(folder: Path, law: Path) -> None:
    trace, task = folder / "asked.trace", f"{folder}/cart.py:TASK"
    short = "--mode", "lockstep", "--episodes", "1", "--trace", str(trace)
    in_process("sim", task, "--policy", str(law), "--in-process", *short)
    asked = odeploy("film", str(trace), "--out", str(folder / "asked.png"))
    assert_one_line(asked, "asked.trace", "its task cart, which is not catalogued", "add --task: file.py:NAME")
    other = folder / "changed.py"
    other.write_text(TASK.replace('Signal("speed", "m/s")', 'Signal("speed", "km/h")'))
    with pytest.raises(ContractError, match=r"observation\[1\]: expected speed \[m/s\].*got speed \[km/h\]"):
        in_process("film", str(trace), "--task", f"{other}:TASK", "--out", str(folder / "asked.png"))


def test_a_step_and_a_picture_that_raise_are_reported_with_their_line(folder: Path, law: Path) -> None:
    code, trace = folder / "jammed.py", folder / "jammed.trace"
    short = "--mode", "lockstep", "--episodes", "1", "--trace", str(trace)
    in_process("sim", f"{folder}/cart.py:TASK", "--policy", str(law), "--in-process", *short)
    code.write_text(TASK.replace("self.speed +=", "1 / 0 #").replace("return np.full", "1 / 0 #"))
    with pytest.raises(ContractError, match=r"task cart, step at .*jammed\.py:19: .*ZeroDivisionError"):
        in_process("score", f"{code}:TASK", "--policy", str(law), "--episodes", "1")
    with pytest.raises(RelayedError, match=r"task cart, render at .*jammed\.py:23: .*ZeroDivisionError"):
        in_process("film", str(trace), "--task", f"{code}:TASK", "--out", str(folder / "jammed.png"))


def test_signals_alone_are_exported_on_recorded_observations(folder: Path) -> None:
    task, out = folder / "arm.toml", folder / "arm.onnx"
    signals = 'observation = [{ name = "q", unit = "rad" }, { name = "v", unit = "rad/s" }]\n'
    limits = 'action = [{ name = "u", unit = "N·m", low = -1, high = 1 }]\n'
    task.write_text(f'name = "arm"\nrate_hz = 50\nhorizon = 100\n{signals}{limits}')
    command = ["export", f"{folder}/law.py:Law", "--from", "module", "--task", str(task), "--out", str(out)]
    with pytest.raises(MissingError, match=r"task arm: .*no environment to play.*add --demos: FILE.npz"):
        in_process(*command)
    np.savez(folder / "met.npz", observations=np.random.default_rng(0).normal(size=(50, 2)))
    in_process(*command, "--demos", str(folder / "met.npz"))
    assert len(read(out).manifest.golden) > 0
    in_process("verify", str(out))
    with pytest.raises(MissingError, match="task arm: expected an environment to simulate, got signals alone"):
        in_process("sim", str(task), "--policy", str(out), "--in-process", "--mode", "lockstep")
