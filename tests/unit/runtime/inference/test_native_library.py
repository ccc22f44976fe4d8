"""The library of native.c: compiled for this machine, else the package's own, which fits its source."""

import ctypes
import shutil
from pathlib import Path

import numpy as np
import pytest

from odeploy_runtime.errors import MissingError
from odeploy_runtime.inference import native_library
from odeploy_runtime.inference.native_policy import NativePolicy
from odeploy_runtime.inference.onnx_policy import OnnxPolicy
from odeploy_runtime.policy_file.file import parse
from tests.policies import policy_bytes

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")


@pytest.fixture
def portable(tmp_path: Path) -> Path:
    """The library as the container's image has it."""
    path = tmp_path / "native.so"
    native_library._build((*native_library._COMPILER, native_library._ANY_PROCESSOR), path)
    return path


@pytest.fixture
def without_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> ctypes.CDLL:
        raise MissingError(where="cc", expected="a C compiler", got="none", remedy="install one")

    monkeypatch.setattr(native_library, "compiled", missing)
    native_library.native_library.cache_clear()


def test_without_a_compiler_the_error_names_a_package() -> None:
    with pytest.raises(MissingError, match=r"no-such-cc: expected a C compiler.*Debian: gcc"):
        native_library.compiled(("no-such-cc",))


def test_a_failed_compilation_quotes_the_compiler() -> None:
    with pytest.raises(MissingError, match="no-such-option"):
        native_library.compiled(("cc", "-fno-such-option", "-shared"))


def test_a_missing_temporary_folder_counts_as_a_missing_compiler(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def read_only(*_: object, **__: object) -> None:
        raise FileNotFoundError("no usable temporary directory")

    monkeypatch.setattr("tempfile.TemporaryDirectory", read_only)
    with pytest.raises(MissingError, match="no usable temporary directory"):
        native_library.compiled()


def test_the_compiled_file_is_removed_after_loading() -> None:
    library = native_library.compiled()
    assert isinstance(library, ctypes.CDLL)
    assert not Path(library._name).exists()


def test_without_a_compiler_the_packages_library_gives_the_same_actions(
    portable: Path, without_a_compiler: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = native_library.packaged(portable)
    assert library is not None
    monkeypatch.setattr(native_library, "packaged", lambda: library)
    file = parse(Path("flow.onnx"), policy_bytes("hopper", "flow", width=72))
    native, proven, rng = NativePolicy(file), OnnxPolicy(file), np.random.default_rng(3)
    noise = rng.standard_normal((1, *file.manifest.noise.shape), np.float32)
    for observation in rng.standard_normal((20, 11), np.float32):
        action = native.infer(observation, noise)
        np.testing.assert_allclose(action, proven.infer(observation, noise), atol=1e-5, rtol=0)
    native_library.native_library.cache_clear()


def test_without_either_the_error_is_the_compilers(
    without_a_compiler: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(native_library, "packaged", lambda: None)
    with pytest.raises(MissingError, match="a C compiler"):
        native_library.native_library()


def test_a_library_of_another_source_is_not_used(portable: Path, tmp_path: Path) -> None:
    assert native_library.packaged(portable) is not None
    digest, other = native_library._digest().encode(), tmp_path / "other.so"
    other.write_bytes(portable.read_bytes().replace(digest, b"0" * 64))
    assert native_library.packaged(other) is None


@pytest.mark.parametrize("content", [None, b"no library"])
def test_a_missing_or_damaged_library_is_none(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "native.so"
    if content is not None:
        path.write_bytes(content)
    assert native_library.packaged(path) is None
