"""The native backend: the same actions as ONNX Runtime's, or a refusal with the reason."""

import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from odeploy_runtime.errors import ParityError, PolicyFileError
from odeploy_runtime.inference import native_policy
from odeploy_runtime.inference.native_policy import NativePolicy, not_for_native
from odeploy_runtime.inference.onnx_policy import OnnxPolicy
from odeploy_runtime.policy_file.file import PolicyFile, parse
from tests.policies import policy_bytes

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")


def policy_file(kind: str) -> PolicyFile:
    """Return a policy file with 72 columns: a block of 64 and one of 8."""
    return parse(Path(f"{kind}.onnx"), policy_bytes("hopper", kind, width=72))


@pytest.mark.parametrize("kind", ["mlp", "flow"])
def test_its_actions_are_onnx_runtimes(kind: str) -> None:
    file = policy_file(kind)
    native, proven = NativePolicy(file), OnnxPolicy(file)
    rng = np.random.default_rng(5)
    answers = set()
    for _ in range(50):
        observation = rng.standard_normal(11).astype(np.float32)
        noise = rng.standard_normal((1, *file.manifest.noise.shape)).astype(np.float32)
        action = native.infer(observation, noise)
        np.testing.assert_allclose(action, proven.infer(observation, noise), atol=1e-5, rtol=0)
        answers.add(action.tobytes())
    assert native.golden_error <= 1e-5
    assert len(answers) > 20  # the others are at the limits


def test_a_flows_action_depends_on_its_noise() -> None:
    native, noise = NativePolicy(policy_file("flow")), np.ones((1, 1, 1, 3), np.float32)
    observations = np.random.default_rng(2).standard_normal((20, 11), np.float32)
    moved = [np.abs(native.infer(o, noise).copy() - native.infer(o, -noise)).max() for o in observations]
    assert max(moved) > 1e-2  # many are at the limits either way


def test_a_pre_touch_run_does_not_change_the_next_action() -> None:
    native, observation = NativePolicy(policy_file("mlp")), np.ones(11, np.float32)
    noise = np.zeros((1, 0, 0, 0), np.float32)
    first = native.infer(observation, noise).copy()
    native.infer(-observation, noise)
    native.touch()
    np.testing.assert_array_equal(native.infer(observation, noise), first)


def test_a_nan_observation_gives_nan_actions() -> None:
    native, observation = NativePolicy(policy_file("flow")), np.zeros(11, np.float32)
    observation[4] = np.nan
    assert np.isnan(native.infer(observation, np.zeros((1, 1, 1, 3), np.float32))).all()


def test_a_program_with_other_actions_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    idle = SimpleNamespace(run=lambda steps, count: None)
    monkeypatch.setattr(native_policy, "native_library", lambda: idle)
    with pytest.raises(ParityError, match=r"expected ONNX Runtime's actions within 1e-05"):
        NativePolicy(policy_file("mlp"))


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"state_size": 3}, "a recurrent policy"),
        ({"sampler": SimpleNamespace(candidates=4)}, "one that chooses among candidates"),
        ({"frozen": 2}, "one with real-time chunking"),
        ({"golden": ()}, "one without golden rows"),
    ],
)
def test_a_policy_of_another_kind_is_refused(changes: dict[str, Any], kind: str) -> None:
    file = policy_file("flow")
    assert not_for_native(file.manifest) is None
    other: Any = SimpleNamespace(**(vars(file.manifest) | changes))
    with pytest.raises(PolicyFileError, match=f"expected a policy of one row without a state, got {kind}"):
        NativePolicy(replace(file, manifest=other))
