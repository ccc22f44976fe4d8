"""Policies of Stable-Baselines3: the exported file matches the library, unsupported models are refused."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Dict, Discrete
from torch import nn

from odeploy_export.sb3.mlp import algorithm, library, mlp_policy, trained_normalised
from odeploy_export.sb3.normaliser import read_normaliser
from odeploy_export.sb3.saved_model import SavedModel, read_zip
from odeploy_export.sources.source import Source
from odeploy_runtime.errors import ContractError, ParityError
from odeploy_runtime.inference.onnx_policy import OnnxPolicy
from odeploy_sim.catalogue.locomotion import HOPPER, WALKER2D
from odeploy_sim.catalogue.mazes import MAZE_MEDIUM
from odeploy_sim.tasks.gym_env import FlatEnv
from odeploy_sim.tasks.task import Task
from odeploy_train.policies.mlp import MlpPolicy
from tests.exports import export
from tests.policies import recorded
from tests.sb3_models import ALGORITHMS, Spaces, answers, flat_spaces, model, normalised, saved
from tests.thorough import mostly_thorough

Rows = np.ndarray[Any, np.dtype[np.float32]]
FLAT = Box(-np.inf, np.inf, (11,), np.float32)
THREE = Box(-1, 1, (3,), np.float32)
NO_NOISE = np.zeros((1, 0, 0, 0), np.float32)


@pytest.fixture(scope="module")
def env() -> Iterator[FlatEnv]:
    made = FlatEnv(HOPPER)
    yield made
    made.close()


def exported(path: Path, task: Task, normaliser: Path | None = None) -> OnnxPolicy:
    found = None if normaliser is None else read_normaliser(normaliser)
    policy = mlp_policy(read_zip(path), task, found)
    seen = recorded(task)
    policy.see(torch.from_numpy(seen))
    out = path.with_suffix(".onnx")
    export(Source(policy, "test", "test", task, seen, {}), out)
    return OnnxPolicy.load(out)


def inferred(policy: OnnxPolicy, observations: Rows) -> np.ndarray[Any, Any]:
    return np.stack([policy.infer(o, NO_NOISE)[0].copy() for o in observations])


def computed(policy: MlpPolicy, observations: Rows) -> np.ndarray[Any, Any]:
    with torch.no_grad():
        return policy(torch.from_numpy(observations).double()).numpy()  # type: ignore[no-any-return]


def observations(task: Task, reach: float = 3.0) -> Rows:
    """Return rows that are not in the parity check, some of them scaled by `reach`."""
    rows = recorded(task, 64, seed=9)
    return np.concatenate([rows, reach * rows[:8], -reach * rows[8:16]]).astype(np.float32)


# Each graph once with its algorithm's default activation, and once with another.
@pytest.mark.parametrize(
    ("name", "activation", "normal"),
    mostly_thorough(
        [
            ("ppo", None, False),
            ("sac", nn.SiLU, True),
            ("td3", nn.LeakyReLU, False),
            ("ppo", nn.GELU, True),
            ("a2c", None, True),
            ("a2c", nn.ELU, False),
            ("sac", None, False),
            ("tqc", None, True),
            ("tqc", nn.Tanh, False),
            ("td3", None, True),
        ],
        3,
    ),
)
def test_the_file_of_every_algorithm_matches_the_library(
    env: FlatEnv, tmp_path: Path, name: str, activation: type[nn.Module] | None, normal: bool
) -> None:
    vec = normalised(env, HOPPER) if normal else None
    options = {} if activation is None else {"activation_fn": activation}
    made = model(name, env if vec is None else vec, policy_kwargs=options)
    if vec is not None:
        vec.save(str(tmp_path / "vecnormalize.pkl"))
    policy = exported(saved(made, tmp_path / "m.zip"), HOPPER, tmp_path / "vecnormalize.pkl" if normal else None)
    rows = observations(HOPPER, reach=100.0 if normal else 3.0)  # beyond the clip, where there is one
    expected = answers(made, vec, rows)
    assert np.abs(inferred(policy, rows) - expected).max() <= 1e-5
    assert expected.std(axis=0).min() > 0.1  # actions differ between rows
    assert np.abs(expected).max() <= 1


@pytest.mark.parametrize("activation", [nn.ELU, nn.GELU, nn.LeakyReLU, nn.ReLU, nn.SiLU, nn.Tanh])
@pytest.mark.parametrize("name", ["ppo", "sac", "td3"])
def test_every_activation_matches_the_library(tmp_path: Path, name: str, activation: type[nn.Module]) -> None:
    made = model(name, flat_spaces(HOPPER), policy_kwargs={"activation_fn": activation})
    policy = mlp_policy(read_zip(saved(made, tmp_path / "m.zip")), HOPPER, None)
    rows = observations(HOPPER)
    assert np.abs(computed(policy, rows) - answers(made, None, rows)).max() <= 1e-5


@pytest.mark.parametrize("name", ["ppo", "sac"])
def test_limits_narrower_than_the_tasks_are_kept(tmp_path: Path, name: str) -> None:
    low, high = [-0.123456789, -1.0, 0.25], [0.5, 0.0, 1.0]
    made = model(name, flat_spaces(HOPPER, low, high))
    policy = mlp_policy(read_zip(saved(made, tmp_path / "m.zip")), HOPPER, None)
    rows = observations(HOPPER)
    assert np.abs(computed(policy, rows) - answers(made, None, rows)).max() <= 1e-5
    far = computed(policy, 1000 * rows)
    assert np.allclose(far.min(axis=0), low)
    assert np.allclose(far.max(axis=0), high)


def test_the_graph_keeps_uneven_limits(tmp_path: Path) -> None:
    made = model("sac", flat_spaces(HOPPER, [-0.1, -1.0, 0.25], [0.5, 0.0, 1.0]))
    policy = exported(saved(made, tmp_path / "m.zip"), HOPPER)
    rows = observations(HOPPER)
    assert np.abs(inferred(policy, rows) - answers(made, None, rows)).max() <= 1e-5


def test_a_network_without_hidden_layers_is_one_product(tmp_path: Path) -> None:
    made = model("sac", flat_spaces(HOPPER), policy_kwargs={"net_arch": {"pi": [], "qf": [8]}})
    policy = mlp_policy(read_zip(saved(made, tmp_path / "m.zip")), HOPPER, None)
    assert len(policy.layers) == 1
    rows = observations(HOPPER)
    assert np.abs(computed(policy, rows) - answers(made, None, rows)).max() <= 1e-5


@pytest.mark.parametrize("name", list(ALGORITHMS))
def test_algorithm_and_library_are_identified(tmp_path: Path, name: str) -> None:
    made = model(name, flat_spaces(HOPPER))
    read = read_zip(saved(made, tmp_path / "m.zip"))
    assert algorithm(read) == name
    assert library(read) == ("sb3-contrib" if name in ("tqc", "trpo") else "stable-baselines3")
    rows = observations(HOPPER)
    assert np.abs(computed(mlp_policy(read, HOPPER, None), rows) - answers(made, None, rows)).max() <= 1e-5


def test_a_model_records_that_its_training_used_a_normaliser(tmp_path: Path) -> None:
    short: dict[str, Any] = {"n_steps": 8, "batch_size": 8, "n_epochs": 1}
    env = flat_spaces(HOPPER)
    for normal in (False, True):
        made = model("ppo", normalised(env, HOPPER) if normal else env, **short).learn(8)
        assert trained_normalised(read_zip(saved(made, tmp_path / "m.zip"))) == normal


@pytest.mark.parametrize(
    ("name", "spaces", "options", "fragment"),
    [
        ("ppo", (Dict({"a": FLAT}), THREE), {"policy": "MultiInputPolicy"}, r"got an observation_space .*Dict"),
        ("a2c", (Box(0, 255, (36, 36, 3), np.uint8), THREE), {"policy": "CnnPolicy"}, r"shape \[3, 36, 36\]"),
        ("ppo", (FLAT, Discrete(4)), {}, r"continuous actions, a Box .*Discrete"),
        ("ppo", (FLAT, THREE), {"use_sde": True}, r"got gSDE \(use_sde\)"),
        ("sac", (FLAT, THREE), {"use_sde": True}, r"got gSDE \(use_sde\)"),
        ("ppo", (FLAT, THREE), {"policy_kwargs": {"activation_fn": nn.Softsign}}, "got Softsign"),
        ("ppo", (FLAT, Box(-2, 2, (3,), np.float32)), {}, r"thigh_joint_torque: expected limits .*\[-2, 2\]"),
        ("sac", (FLAT, Box(-2, 2, (3,), np.float32)), {}, r"expected finite limits .*\[-1, 1\], got \[-2, 2\]"),
    ],
)
def test_what_is_not_an_mlp_on_flat_numbers_is_refused(
    tmp_path: Path, name: str, spaces: tuple[Any, Any], options: dict[str, Any], fragment: str
) -> None:
    path = saved(model(name, Spaces(*spaces), **options), tmp_path / "m.zip")
    with pytest.raises(ContractError, match=fragment):
        mlp_policy(read_zip(path), HOPPER, None)


@pytest.mark.parametrize(
    ("task", "fragment"),
    [
        (WALKER2D, "expected 17 observations as task walker2d has, rootz_position to .*, got a network with 11"),
        (MAZE_MEDIUM, "expected 6 observations as task maze-medium has, ball_x to goal_y, got a network with 11"),
    ],
)
def test_a_model_of_another_task_is_refused_by_its_observations(tmp_path: Path, task: Task, fragment: str) -> None:
    path = saved(model("ppo", flat_spaces(HOPPER)), tmp_path / "m.zip")
    with pytest.raises(ContractError, match=fragment):
        mlp_policy(read_zip(path), task, None)


def test_a_model_with_another_number_of_actions_is_refused(tmp_path: Path) -> None:
    path = saved(model("td3", Spaces(FLAT, Box(-1, 1, (4,), np.float32))), tmp_path / "m.zip")
    with pytest.raises(
        ContractError, match="3 actions as task hopper has, thigh_joint_torque to foot_joint_torque"
    ):
        mlp_policy(read_zip(path), HOPPER, None)


def test_a_normaliser_of_another_size_is_refused(tmp_path: Path) -> None:
    normalised(flat_spaces(WALKER2D), WALKER2D).save(str(tmp_path / "v.pkl"))
    path = saved(model("ppo", flat_spaces(HOPPER)), tmp_path / "m.zip")
    with pytest.raises(ContractError, match="expected 11 observations as the network takes, got 17"):
        mlp_policy(read_zip(path), HOPPER, read_normaliser(tmp_path / "v.pkl"))


def _unknown_algorithm(m: SavedModel) -> None:
    del m.fields["clip_range"], m.fields["gae_lambda"]


def _unknown_policy_class(m: SavedModel) -> None:
    m.fields["policy_class"]["__module__"] = "sb3_contrib.common.recurrent.policies"


def _extractor(m: SavedModel) -> None:
    m.fields["policy_kwargs"]["features_extractor_class"] = "<class 'mine.Attention'>"


def _further_tensor(m: SavedModel) -> None:
    m.tensors["pi_features_extractor.linear.weight"] = torch.zeros(2, 2)


def _layer_norm(m: SavedModel) -> None:
    for part in ("weight", "bias"):
        m.tensors[f"mlp_extractor.policy_net.4.{part}"] = torch.zeros(24)


def _lost_bias(m: SavedModel) -> None:
    del m.tensors["mlp_extractor.policy_net.2.bias"]


def _lost_layer(m: SavedModel) -> None:
    for part in ("weight", "bias"):
        del m.tensors[f"mlp_extractor.policy_net.0.{part}"]


def _no_spaces(m: SavedModel) -> None:
    del m.fields["observation_space"]


@pytest.mark.parametrize(
    ("fault", "fragment"),
    [
        (_unknown_algorithm, "an algorithm of these, got another"),
        (_unknown_policy_class, "got one from the module sb3_contrib.common.recurrent.policies"),
        (_extractor, "no features extractor of its own, got <class 'mine.Attention'>"),
        (_further_tensor, "only linear layers, got also the tensor pi_features_extractor.linear.weight"),
        (_layer_norm, "linear layers and an activation in turn, got the tensors"),
        (_lost_bias, "linear layers and an activation in turn, got the tensors"),
        (_lost_layer, "linear layers and an activation in turn, got the tensors"),
        (_no_spaces, "got an observation_space None"),
    ],
)
def test_a_model_with_any_unknown_part_is_refused(
    tmp_path: Path, fault: Callable[[SavedModel], None], fragment: str
) -> None:
    read = read_zip(saved(model("ppo", flat_spaces(HOPPER)), tmp_path / "m.zip"))
    mlp_policy(read, HOPPER, None)
    fault(read)
    with pytest.raises(ContractError, match=fragment):
        mlp_policy(read, HOPPER, None)


def test_nan_weights_do_not_pass_the_parity_check(tmp_path: Path) -> None:
    made = model("ppo", flat_spaces(HOPPER))
    with torch.no_grad():
        made.policy.action_net.bias[1] = torch.nan  # type: ignore[union-attr,operator]
    with pytest.raises(ParityError, match=r"signal leg_joint_torque: .* got nan from torch"):
        exported(saved(made, tmp_path / "m.zip"), HOPPER)
    assert not (tmp_path / "m.onnx").exists()


def test_limits_are_the_tasks_if_the_models_are_abbreviated(tmp_path: Path) -> None:
    read = read_zip(saved(model("sac", flat_spaces(HOPPER, -0.5, 0.5)), tmp_path / "m.zip"))
    assert mlp_policy(read, HOPPER, None).high.tolist() == [0.5] * 3
    read.fields["action_space"]["low"] = "[-0.5 ... -0.5]"
    assert mlp_policy(read, HOPPER, None).high.tolist() == [1.0] * 3
