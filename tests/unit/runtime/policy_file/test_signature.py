"""Signatures: every change to a signed file is detected, even with a recomputed fingerprint."""

from pathlib import Path

import onnx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from odeploy_runtime.cli.keys import main
from odeploy_runtime.errors import FormatError, MissingError, PolicyFileError
from odeploy_runtime.policy_file.file import FINGERPRINT_KEY, MANIFEST_KEY, NO_FINGERPRINT, parse, seal
from odeploy_runtime.policy_file.protobuf import metadata_spans
from odeploy_runtime.policy_file.signature import SIGNATURE_KEY, read_public, read_secret, require_signed, sign
from tests.unit.runtime import models

HERE = Path("file.onnx")
DATA = models.policy_bytes()


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    main([str(tmp_path / "signer"), "--sign"])
    return tmp_path


@pytest.fixture
def secret(keys: Path) -> Ed25519PrivateKey:
    return read_secret(keys / "signer.sign_secret")


@pytest.fixture
def signed(secret: Ed25519PrivateKey) -> bytes:
    return sign(DATA, secret, "file")


def resealed(data: bytes) -> bytes:
    """Return the file with a recomputed fingerprint, as a forger would write it."""
    start, end = metadata_spans(data, "file")[FINGERPRINT_KEY]
    return seal(data[:start] + NO_FINGERPRINT.encode() + data[end:], "file")


def test_a_signed_file_is_accepted_by_the_name_of_the_key(signed: bytes, keys: Path) -> None:
    assert require_signed(parse(HERE, signed), keys) == "signer"


def test_one_of_several_listed_keys_is_enough(signed: bytes, keys: Path) -> None:
    main([str(keys / "another"), "--sign"])
    assert require_signed(parse(HERE, signed), keys) == "signer"


def test_a_signed_file_is_a_valid_model_with_the_same_manifest_and_graph(signed: bytes) -> None:
    onnx.checker.check_model(onnx.load_from_string(signed), full_check=True)
    before, after = parse(HERE, DATA), parse(HERE, signed)
    assert after.manifest == before.manifest
    assert after.fingerprint != before.fingerprint
    assert onnx.load_from_string(signed).graph == onnx.load_from_string(DATA).graph


def test_the_same_key_signs_the_same_file_with_the_same_bytes(signed: bytes, secret: Ed25519PrivateKey) -> None:
    assert sign(DATA, secret, "file") == signed


def test_the_signature_covers_the_fingerprint_of_the_file_without_a_signature(
    signed: bytes, secret: Ed25519PrivateKey
) -> None:
    """Checked with the onnx package, independently of our walk over the bytes."""
    model = onnx.load_from_string(signed)
    props = {entry.key: entry for entry in model.metadata_props}
    assert list(props) == [MANIFEST_KEY, FINGERPRINT_KEY, SIGNATURE_KEY]
    signature = bytes.fromhex(props[SIGNATURE_KEY].value)
    blank = signed.replace(props[SIGNATURE_KEY].value.encode(), b"0" * 128)
    fingerprint = parse(HERE, resealed(blank)).fingerprint
    secret.public_key().verify(signature, b"odeploy policy file 1: " + fingerprint.encode())


def test_a_changed_byte_anywhere_is_refused_even_with_a_recomputed_fingerprint(signed: bytes, keys: Path) -> None:
    """Change every fifth byte of graph, manifest and metadata, and every byte of the signature."""
    spans = {key: range(*span) for key, span in metadata_spans(signed, "file").items()}
    reached = 0
    for place in sorted({*range(0, len(signed), 5), *spans[SIGNATURE_KEY]}):
        if place in spans[FINGERPRINT_KEY]:
            continue  # recomputed by the forger
        data = bytearray(signed)
        data[place] ^= 1
        try:
            file = parse(HERE, resealed(bytes(data)))
        except (PolicyFileError, KeyError):  # no longer a policy file
            continue
        reached += 1
        with pytest.raises(PolicyFileError, match="expected a signature by a key in"):
            require_signed(file, keys)
    assert reached > len(spans[SIGNATURE_KEY]) + 20  # including graph and manifest


def test_a_changed_byte_without_a_new_fingerprint_is_refused(signed: bytes) -> None:
    for place in range(len(signed)):
        data = bytearray(signed)
        data[place] ^= 1
        with pytest.raises(PolicyFileError):
            parse(HERE, bytes(data))


def test_a_signature_by_another_key_is_refused(keys: Path) -> None:
    forged = sign(DATA, Ed25519PrivateKey.generate(), "file")
    with pytest.raises(PolicyFileError, match="got one by another key, or over other contents"):
        require_signed(parse(HERE, forged), keys)


def test_a_signature_moved_to_another_file_is_refused(signed: bytes, keys: Path) -> None:
    own = sign(models.policy_bytes(note="another"), Ed25519PrivateKey.generate(), "file")
    span = slice(*metadata_spans(own, "file")[SIGNATURE_KEY])
    stolen = signed[slice(*metadata_spans(signed, "file")[SIGNATURE_KEY])]
    with pytest.raises(PolicyFileError, match="over other contents"):
        require_signed(parse(HERE, resealed(own[: span.start] + stolen + own[span.stop :])), keys)


def test_a_file_without_a_signature_is_refused_with_the_remedy(keys: Path) -> None:
    with pytest.raises(PolicyFileError, match="got none; export it with --sign KEY"):
        require_signed(parse(HERE, DATA), keys)


def test_the_same_signature_in_capitals_is_refused(signed: bytes, keys: Path) -> None:
    span = slice(*metadata_spans(signed, "file")[SIGNATURE_KEY])
    upper = signed[: span.start] + signed[span].upper() + signed[span.stop :]
    with pytest.raises(PolicyFileError, match="got something else"):
        require_signed(parse(HERE, resealed(upper)), keys)


def test_a_signed_file_is_not_signed_again(signed: bytes, secret: Ed25519PrivateKey) -> None:
    with pytest.raises(PolicyFileError, match="expected a file without a signature"):
        sign(signed, secret, "file")


def test_keys_of_another_type_are_refused(keys: Path) -> None:
    main([str(keys / "arm")])
    with pytest.raises(FormatError, match="odeploy keys NAME --sign"):
        read_secret(keys / "arm.key_secret")
    with pytest.raises(FormatError, match="odeploy keys NAME --sign"):
        read_public(keys / "arm.key")


def test_a_signing_key_that_others_can_open_is_refused(keys: Path) -> None:
    (keys / "signer.sign_secret").chmod(0o644)
    with pytest.raises(FormatError, match="chmod 600"):
        read_secret(keys / "signer.sign_secret")


def test_a_folder_without_keys_is_refused(signed: bytes, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(MissingError, match=r"at least one public key, NAME\.sign"):
        require_signed(parse(HERE, signed), tmp_path / "empty")
