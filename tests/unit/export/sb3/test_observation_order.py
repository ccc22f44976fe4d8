"""Observations that another library flattened from a dictionary: the right order, or a required option."""

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Space
from gymnasium.wrappers import FilterObservation, FlattenObservation

from odeploy_export.options import ReadingOptions
from odeploy_export.sb3.observation_order import places_of_keys, required_order
from odeploy_export.sources.runs import from_sb3
from odeploy_runtime.errors import UsageError
from odeploy_runtime.inference.onnx_policy import OnnxPolicy
from odeploy_sim.catalogue.locomotion import HOPPER
from odeploy_sim.catalogue.manipulation import FETCH_REACH
from tests.exports import export
from tests.policies import recorded
from tests.sb3_models import Spaces, model, saved

KEYS = ("observation", "desired_goal")
NO_NOISE = np.zeros((1, 0, 0, 0), np.float32)


class Dictionary(Spaces):
    """Spaces of fetch-reach as a dictionary."""

    def __init__(self) -> None:
        boxes: dict[str, Space[Any]] = {
            "observation": Box(-np.inf, np.inf, (10,)),
            "desired_goal": Box(-np.inf, np.inf, (3,)),
        }
        super().__init__(Dict(boxes), Box(-1, 1, (4,), np.float32))


@pytest.mark.parametrize("name", ["ppo", "sac"])
def test_a_model_behind_flatten_observation_needs_the_option_and_then_matches_the_library(
    name: str, tmp_path: Path
) -> None:
    env: gymnasium.Env[object, object] = FlattenObservation(Dictionary())
    made = model(name, env)
    path, seen = saved(made, tmp_path / "m.zip"), recorded(FETCH_REACH, 64)
    np.savez(tmp_path / "rows.npz", observations=seen)
    with pytest.raises(
        UsageError, match="expected --observation-order task or sorted: fetch-reach concatenates obs"
    ):
        from_sb3(path, FETCH_REACH, None, str(tmp_path / "rows.npz"))
    for order in ("sorted", "desired_goal,observation"):
        reading = ReadingOptions(observation_order=order)
        source = from_sb3(path, FETCH_REACH, None, str(tmp_path / "rows.npz"), reading)
        assert source.provenance["observation_order"] == ["desired_goal", "observation"]
        export(source, tmp_path / "p.onnx")
        policy = OnnxPolicy.load(tmp_path / "p.onnx")
        for row in seen[:8]:
            flat = env.observation({"observation": row[:10], "desired_goal": row[10:]})  # type: ignore[attr-defined]
            expected = made.predict(flat, deterministic=True)[0]
            assert np.allclose(policy.infer(row, NO_NOISE)[0], expected, atol=1e-5)


@pytest.mark.parametrize("name", ["sac", "td3", "ppo"])
def test_a_multi_input_policy_matches_the_library_with_the_achieved_goal(name: str, tmp_path: Path) -> None:
    boxes: dict[str, Space[Any]] = {
        key: Box(-np.inf, np.inf, (size,))
        for key, size in (*zip(KEYS, (10, 3), strict=True), ("achieved_goal", 3))
    }
    made = model(name, Spaces(Dict(boxes), Box(-1, 1, (4,), np.float32)), "MultiInputPolicy")
    path, seen = saved(made, tmp_path / "m.zip"), recorded(FETCH_REACH, 64)
    np.savez(tmp_path / "rows.npz", observations=seen)
    source = from_sb3(path, FETCH_REACH, None, str(tmp_path / "rows.npz"))
    assert source.provenance["observation_order"] == ["achieved_goal", "desired_goal", "observation"]
    export(source, tmp_path / "p.onnx")
    policy = OnnxPolicy.load(tmp_path / "p.onnx")
    for row in seen[:8]:
        parts = {"observation": row[:10], "desired_goal": row[10:], "achieved_goal": row[:3]}
        expected = made.predict(parts, deterministic=True)[0]
        assert np.allclose(policy.infer(row, NO_NOISE)[0], expected, atol=1e-5)


def test_keys_that_the_task_leaves_out_are_found_by_their_values() -> None:
    places = places_of_keys(FETCH_REACH, ("achieved_goal", "desired_goal", "observation"))
    assert places == (0, 1, 2, 10, 11, 12, *range(10))  # the achieved goal is the gripper's position


@pytest.mark.parametrize(
    ("order", "fragment"),
    [
        (
            "desired_goal",
            "expected task, sorted, or the keys observation, desired_goal in some order, got desired_goal",
        )
    ],
)
def test_other_keys_are_refused(order: str, fragment: str) -> None:
    with pytest.raises(UsageError, match=fragment):
        required_order(FETCH_REACH, order, "m.zip")


def test_a_task_without_a_dictionary_needs_no_order() -> None:
    assert required_order(HOPPER, None, "m.zip") is None
    with pytest.raises(UsageError, match="hopper has no dictionary observation"):
        required_order(HOPPER, "sorted", "m.zip")


def test_the_wrapper_sorts_the_keys() -> None:
    boxes = Dictionary().observation_space
    assert isinstance(boxes, Dict)
    assert list(boxes.spaces) == sorted(KEYS)
    assert FilterObservation(Dictionary(), KEYS).observation_space == boxes
