"""Signatures of policy files (Ed25519, RFC 8032): proof of who exported a file.

A fingerprint only shows that a file is intact; anyone can compute one. A signature is a third metadata entry,
`odeploy.signature`: 128 hex characters that sign the fingerprint of the file while they are zeros. A signed file
stays a single file, its fingerprint covers the signature like any other byte, and readers without support for
signatures can read it. Needs the extra `sign`.
"""

import re
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from odeploy_runtime.errors import FormatError, PolicyFileError
from odeploy_runtime.policy_file.file import FINGERPRINT_KEY, NO_FINGERPRINT, PolicyFile, fingerprint_of, seal
from odeploy_runtime.policy_file.protobuf import metadata_spans
from odeploy_runtime.regular_file import TEXT_BYTES, read_regular
from odeploy_runtime.transport.keys import SIGN_PUBLIC, SIGN_SECRET, key_files, require_private

SIGNATURE_KEY = "odeploy.signature"
_NO_SIGNATURE = "0" * 128
_PURPOSE = b"odeploy policy file 1: "  # so that signatures made for another purpose do not fit


def new_pair() -> tuple[bytes, bytes]:
    """Return the contents of a new public and a new secret key file, PEM."""
    secret = Ed25519PrivateKey.generate()
    public = secret.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return public, secret.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def sign(data: bytes, key: Ed25519PrivateKey, where: str) -> bytes:
    """Return a sealed policy file with a signature added, sealed again.

    Raises:
        PolicyFileError: it is already signed.
    """
    spans = metadata_spans(data, where)
    if SIGNATURE_KEY in spans:
        raise PolicyFileError(
            where=where,
            expected="a file without a signature",
            got="a signed file",
            remedy="export the policy again and sign that",
        )
    start, end = spans[FINGERPRINT_KEY]
    unsealed = data[:start] + NO_FINGERPRINT.encode() + data[end:]
    # Further entries of a repeated field may follow a protobuf message.
    unsigned = seal(unsealed + _metadata_entry(SIGNATURE_KEY, _NO_SIGNATURE), where)
    signature = key.sign(_message(unsigned, where)).hex().encode()
    place = slice(*metadata_spans(unsigned, where)[SIGNATURE_KEY])
    return seal(unsigned[: place.start] + signature + unsigned[place.stop :], where)


def require_signed(file: PolicyFile, keys: Path) -> str:
    """Check that a listed key has signed a file; return the name of the key.

    Args:
        file: policy file; the checked bytes are exactly those that will be loaded.
        keys: folder of public keys.

    Raises:
        PolicyFileError: no signature, or not one by these keys over these bytes.
        MissingError: no key in the folder.
        FormatError: a file in the folder that is not a public signing key.
    """
    listed = {path: read_public(path) for path in key_files(keys, SIGN_PUBLIC, "--require-signed")}
    where = str(file.path)
    span = metadata_spans(file.data, where).get(SIGNATURE_KEY)
    if span is None:
        raise _unsigned(where, keys, "none", "export it with --sign KEY")
    text = file.data[slice(*span)]
    if re.fullmatch(rb"[0-9a-f]{128}", text) is None:
        raise _unsigned(where, keys, "something else", "copy the file again")
    message = _message(file.data, where)
    for path, key in listed.items():
        try:
            key.verify(bytes.fromhex(text.decode()), message)
        except InvalidSignature:
            continue
        return path.stem
    raise _unsigned(
        where, keys, "one by another key, or over other contents", "get the file from its exporter again"
    )


def read_secret(path: Path) -> Ed25519PrivateKey:
    """Read a secret signing key.

    Raises:
        MissingError: no such file.
        FormatError: not a secret signing key, or one that others can read.
    """
    require_private(path)
    try:
        key = load_pem_private_key(read_regular(path, TEXT_BYTES), None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise _no_key(path, SIGN_SECRET)
    return key


def read_public(path: Path) -> Ed25519PublicKey:
    """Read a public signing key; errors as in `read_secret`."""
    try:
        key = load_pem_public_key(read_regular(path, TEXT_BYTES))
    except (OSError, ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise _no_key(path, SIGN_PUBLIC)
    return key


def _message(data: bytes, where: str) -> bytes:
    """Return the signed message: the fingerprint with a signature of zeros."""
    spans = metadata_spans(data, where)
    start, end = spans[SIGNATURE_KEY]
    blank = data[:start] + b"0" * (end - start) + data[end:]
    return _PURPOSE + fingerprint_of(blank, *spans[FINGERPRINT_KEY]).encode()


def _metadata_entry(key: str, value: str) -> bytes:
    """Encode `metadata_props` of a ModelProto: field 14, of key (1) and value (2)."""
    entry = b"".join(_field(tag, part.encode()) for tag, part in ((0x0A, key), (0x12, value)))
    return _field(0x72, entry)


def _field(tag: int, payload: bytes) -> bytes:
    size = len(payload)
    length = bytes([size]) if size < 0x80 else bytes([size & 0x7F | 0x80, size >> 7])
    return bytes([tag]) + length + payload


def _unsigned(where: str, keys: Path, got: str, remedy: str) -> PolicyFileError:
    return PolicyFileError(where=where, expected=f"a signature by a key in {keys}", got=got, remedy=remedy)


def _no_key(path: Path, suffix: str) -> FormatError:
    return FormatError(
        where=str(path),
        expected=f"an Ed25519 key, NAME{suffix}",
        got="another file",
        remedy="make one with `odeploy keys NAME --sign`",
    )
