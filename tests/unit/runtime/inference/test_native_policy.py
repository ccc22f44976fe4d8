"""The native backend: the same answers as ONNX Runtime's, or a refusal that says why."""

import ctypes
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from odeploy_runtime.errors import MissingError, ParityError, PolicyFileError
from odeploy_runtime.inference import native_policy
from odeploy_runtime.inference.native_policy import NativePolicy
from odeploy_runtime.inference.onnx_policy import OnnxPolicy
from odeploy_runtime.policy_file.file import PolicyFile, parse
from tests.policies import policy_bytes

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")


def policy_file(kind: str) -> PolicyFile:
    """72 columns: a block of 64 and one of 8."""
    return parse(Path(f"{kind}.onnx"), policy_bytes("hopper", kind, width=72))


@pytest.mark.parametrize("kind", ["mlp", "flow"])
def test_it_answers_as_onnx_runtime_does(kind: str) -> None:
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
    assert len(answers) > 20  # the others are at the limits


def test_a_flow_s_noise_reaches_its_answer() -> None:
    native, noise = NativePolicy(policy_file("flow")), np.ones((1, 1, 1, 3), np.float32)
    observations = np.random.default_rng(2).standard_normal((20, 11), np.float32)
    moved = [np.abs(native.infer(o, noise).copy() - native.infer(o, -noise)).max() for o in observations]
    assert max(moved) > 1e-2  # many are at the limits either way


def test_a_touch_leaves_the_next_answer_as_it_is() -> None:
    native, observation = NativePolicy(policy_file("mlp")), np.ones(11, np.float32)
    noise = np.zeros((1, 0, 0, 0), np.float32)
    first = native.infer(observation, noise).copy()
    native.infer(-observation, noise)
    native.touch()
    np.testing.assert_array_equal(native.infer(observation, noise), first)


def test_a_nan_stays_visible() -> None:
    native, observation = NativePolicy(policy_file("flow")), np.zeros(11, np.float32)
    observation[4] = np.nan
    assert np.isnan(native.infer(observation, np.zeros((1, 1, 1, 3), np.float32))).all()


def test_a_program_that_answers_otherwise_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    idle = SimpleNamespace(run=lambda steps, count: None)
    monkeypatch.setattr(native_policy, "_compiled", lambda: idle)
    with pytest.raises(ParityError, match=r"expected ONNX Runtime's actions within 1e-05"):
        NativePolicy(policy_file("mlp"))


def test_a_machine_without_a_compiler_is_told_what_to_install() -> None:
    with pytest.raises(MissingError, match=r"no-such-cc: expected a C compiler.*Debian: gcc"):
        native_policy._compiled(("no-such-cc",))


def test_a_compiler_that_fails_is_quoted() -> None:
    with pytest.raises(MissingError, match="no-such-option"):
        native_policy._compiled(("cc", "-fno-such-option", "-shared"))


def test_the_library_is_loaded_from_a_file_that_is_gone() -> None:
    library = native_policy._compiled()
    assert isinstance(library, ctypes.CDLL)
    assert not Path(library._name).exists()


def test_a_policy_that_chooses_among_candidates_is_refused() -> None:
    file = policy_file("flow")
    sampler = SimpleNamespace(candidates=4)
    chooses = SimpleNamespace(path=file.path, manifest=SimpleNamespace(state_size=0, sampler=sampler, frozen=None))
    with pytest.raises(PolicyFileError, match="one that chooses among candidates"):
        NativePolicy(chooses)  # type: ignore[arg-type]
