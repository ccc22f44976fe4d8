"""Actions within ±1, and unbounded ones: the chosen reading matches the library, and none is guessed."""

from pathlib import Path

import numpy as np
import pytest
import torch
from gymnasium.wrappers import RescaleAction
from stable_baselines3 import SAC
from torch import Tensor, nn

from odeploy_export.options import ReadingOptions
from odeploy_export.pipeline import export_module
from odeploy_export.sources.runs import from_sb3
from odeploy_runtime.errors import UsageError
from odeploy_runtime.inference.onnx_policy import OnnxPolicy
from odeploy_sim.catalogue import get
from odeploy_sim.catalogue.locomotion import HOPPER
from odeploy_sim.tasks.task import Task
from tests.exports import export
from tests.policies import recorded
from tests.sb3_models import flat_spaces, model, saved

ARM, HUMANOID = get("arm-track"), get("humanoid")
Rows = np.ndarray[tuple[int, ...], np.dtype[np.float32]]
NO_NOISE = np.zeros((1, 0, 0, 0), np.float32)


def inferred(path: Path, rows: Rows) -> Rows:
    policy = OnnxPolicy.load(path)
    return np.stack([policy.infer(row, NO_NOISE)[0].copy() for row in rows])


@pytest.mark.parametrize("task", [ARM, HUMANOID], ids=["wider", "narrower"])
@pytest.mark.parametrize("name", ["ppo", "sac", "td3"])
def test_a_model_behind_rescale_action_needs_the_option_and_then_matches_the_library(
    name: str, task: Task, tmp_path: Path
) -> None:
    limit, one = task.action[0].high, np.ones(len(task.action), np.float32)
    assert limit is not None
    env = RescaleAction(flat_spaces(task, -limit, limit), -one, one)
    made, seen = model(name, env), recorded(task, 64)
    path = saved(made, tmp_path / "m.zip")
    np.savez(tmp_path / "rows.npz", observations=seen)
    with pytest.raises(
        UsageError, match="expected --actions rescaled or --actions raw, since the task's limits are"
    ):
        from_sb3(path, task, None, str(tmp_path / "rows.npz"))
    export(
        from_sb3(path, task, None, str(tmp_path / "rows.npz"), ReadingOptions(actions="rescaled")), tmp_path / "p"
    )
    expected = np.stack([env.action(made.predict(row, deterministic=True)[0]) for row in seen[:8]])
    assert np.allclose(inferred(tmp_path / "p", seen[:8]), expected, atol=2e-5)
    assert np.abs(expected).max() > 0.5 * limit
    if task is ARM:
        raw = from_sb3(path, task, None, str(tmp_path / "rows.npz"), ReadingOptions(actions="raw"))
        export(raw, tmp_path / "raw")
        expected = np.stack([made.predict(row, deterministic=True)[0] for row in seen[:8]])
        assert np.allclose(inferred(tmp_path / "raw", seen[:8]), expected, atol=1e-5)


def test_a_module_that_ends_in_a_tanh_needs_the_option_on_other_limits(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(len(ARM.observation), 2), nn.Tanh())
    seen = recorded(ARM, 64)
    with pytest.raises(UsageError, match=r"expected --actions rescaled or --actions raw, since .* \[-1.2, 1.2\]"):
        export_module(net, ARM, tmp_path / "p.onnx", recorded=seen)
    for actions, factor in (("rescaled", 1.2), ("raw", 1.0)):
        reading = ReadingOptions(actions=actions)  # type: ignore[arg-type]
        export_module(net, ARM, tmp_path / "p.onnx", recorded=seen, reading=reading)
        expected = factor * net(torch.from_numpy(seen[:8])).detach().numpy()
        assert np.allclose(inferred(tmp_path / "p.onnx", seen[:8]), expected, atol=1e-5)


class MeanOnly(nn.Module):
    """The network of SAC as its documentation exports it, without the tanh."""

    def __init__(self, algorithm: SAC) -> None:
        super().__init__()
        self.actor = algorithm.policy.actor

    def forward(self, observation: Tensor) -> Tensor:
        mean: Tensor = self.actor.mu(self.actor.latent_pi(observation))
        return mean


def test_the_network_of_sac_without_its_tanh_needs_the_option_and_then_matches_the_library(tmp_path: Path) -> None:
    made, seen = model("sac", flat_spaces(HOPPER)), recorded(HOPPER, 64)
    assert isinstance(made, SAC)
    net, bare = MeanOnly(made), nn.Sequential(made.policy.actor.latent_pi, made.policy.actor.mu)
    with pytest.raises(
        UsageError, match=r"got actor\.log_std\.weight, as SAC and TQC have, whose actions are tanh"
    ):
        export_module(net, HOPPER, tmp_path / "p.onnx", recorded=seen)
    with pytest.raises(UsageError, match=r"got actions beyond \[-1, 1\] in .*% of recorded observations"):
        export_module(bare, HOPPER, tmp_path / "p.onnx", recorded=seen)
    assert not (tmp_path / "p.onnx").exists()
    for module in (net, bare):
        export_module(module, HOPPER, tmp_path / "p.onnx", recorded=seen, reading=ReadingOptions(squash="tanh"))
        expected = np.stack([made.predict(row, deterministic=True)[0] for row in seen[:8]])
        assert np.allclose(inferred(tmp_path / "p.onnx", seen[:8]), expected, atol=1e-5)
    twice, reading = nn.Sequential(bare, nn.Tanh()), ReadingOptions(squash="tanh")
    with pytest.raises(UsageError, match=r"--squash tanh: expected a graph without its last tanh"):
        export_module(twice, HOPPER, tmp_path / "p.onnx", recorded=seen, reading=reading)
