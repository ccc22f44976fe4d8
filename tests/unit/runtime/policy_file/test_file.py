"""The policy file: every changed byte is detected."""

import hashlib
from pathlib import Path

import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from odeploy_runtime.errors import PolicyFileError
from odeploy_runtime.policy_file.file import FINGERPRINT_KEY, MANIFEST_KEY, NO_FINGERPRINT, parse, read, seal
from odeploy_runtime.policy_file.protobuf import metadata_spans
from odeploy_runtime.typed_json import to_json
from tests.unit.runtime import models
from tests.unit.runtime.fakes import manifest

HERE = Path("file.onnx")
DATA = models.policy_bytes(note="free text")


def test_a_file_is_read_with_its_manifest_and_its_exact_bytes(tmp_path: Path) -> None:
    path = tmp_path / "policy.onnx"
    path.write_bytes(DATA)
    file = read(path)
    assert (file.path, file.manifest, file.data) == (path, manifest(), DATA)
    assert file.manifest.observation_names == ("x", "y", "speed")
    assert file.manifest.action_names == ("motor_x", "motor_y")


def test_the_fingerprint_is_the_sha256_of_the_file_with_the_fingerprint_zeroed() -> None:
    file = parse(HERE, DATA)
    assert DATA.count(file.fingerprint.encode()) == 1
    zeroed = DATA.replace(file.fingerprint.encode(), NO_FINGERPRINT.encode())
    assert hashlib.sha256(zeroed).hexdigest() == file.fingerprint


def test_a_sealed_file_is_a_valid_onnx_model() -> None:
    onnx.checker.check_model(onnx.load_from_string(DATA), full_check=True)


def test_sealing_twice_changes_nothing() -> None:
    start, end = metadata_spans(DATA, "file")[FINGERPRINT_KEY]
    placeholder = DATA[:start] + NO_FINGERPRINT.encode() + DATA[end:]
    assert seal(placeholder, "file") == DATA


@pytest.mark.parametrize("flip", [0x01, 0x80, 0xFF])
def test_a_flipped_byte_anywhere_is_refused(flip: int) -> None:
    for place in range(len(DATA)):
        data = bytearray(DATA)
        data[place] ^= flip
        with pytest.raises(PolicyFileError):
            parse(HERE, bytes(data))


def test_a_file_cut_at_any_byte_is_refused() -> None:
    for length in range(len(DATA)):
        with pytest.raises(PolicyFileError):
            parse(HERE, DATA[:length])


@given(st.binary(min_size=1, max_size=40))
def test_bytes_after_the_end_are_refused(more: bytes) -> None:
    with pytest.raises(PolicyFileError):
        parse(HERE, DATA + more)


def test_a_changed_weight_is_reported_as_a_changed_file() -> None:
    model = onnx.load_from_string(DATA)
    model.graph.initializer[0].raw_data = bytes(8)
    with pytest.raises(PolicyFileError, match="the file has changed since its export"):
        parse(HERE, model.SerializeToString())


def test_upper_case_or_short_fingerprints_are_refused() -> None:
    model = onnx.load_from_string(DATA)
    for spoil in (str.upper, lambda text: text[:63], lambda text: "", lambda text: text + "0"):
        damaged = onnx.ModelProto()
        damaged.CopyFrom(model)
        damaged.metadata_props[-1].value = spoil(damaged.metadata_props[-1].value)
        with pytest.raises(PolicyFileError, match="expected contents with fingerprint"):
            parse(HERE, damaged.SerializeToString())


def test_external_weights_are_refused_before_the_fingerprint_is_checked() -> None:
    model = models.model(
        models.graph_with_initializer(models.outside()),
        **{MANIFEST_KEY: to_json(manifest()), FINGERPRINT_KEY: NO_FINGERPRINT},
    )
    with pytest.raises(PolicyFileError, match="a tensor stored in another file"):
        parse(HERE, model.SerializeToString())


@pytest.mark.parametrize("metadata", [{}, {MANIFEST_KEY: "{}"}, {FINGERPRINT_KEY: NO_FINGERPRINT}])
def test_a_foreign_onnx_file_has_its_own_error(metadata: dict[str, str]) -> None:
    data = models.model(models.graph_with_initializer(models.inside()), **metadata).SerializeToString()
    with pytest.raises(PolicyFileError, match="an ONNX file without them"):
        parse(HERE, data)


@pytest.mark.parametrize("name", ["missing.onnx", "."])
def test_a_path_that_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(PolicyFileError) as raised:
        read(tmp_path / name)
    assert raised.value.where == str(tmp_path / name)
