"""Signatures of policy files: who vouches for what a robot is about to do. Ed25519, RFC 8032.

A fingerprint shows that a file is whole; anybody can make another. A signature rides in the file as a third
metadata entry, `odeploy.signature`: 128 hex characters, over the fingerprint that the file has while they are
zeros. So a signed file stays one file, its own fingerprint covers the signature as any other byte, and a
reader that knows nothing of signatures reads it. Needs the extra `sign`.
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
from odeploy_runtime.transport.keys import SIGN_PUBLIC, SIGN_SECRET, key_files, require_private

SIGNATURE_KEY = "odeploy.signature"
_NO_SIGNATURE = "0" * 128
_PURPOSE = b"odeploy policy file 1: "  # so that no signature of something else fits


def new_pair() -> tuple[bytes, bytes]:
    """Contents of a public and a secret key file, PEM."""
    secret = Ed25519PrivateKey.generate()
    public = secret.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return public, secret.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def sign(data: bytes, key: Ed25519PrivateKey, where: str) -> bytes:
    """A sealed policy file with a signature in it, sealed again.

    Raises:
        PolicyFileError: it has one already.
    """
    spans = metadata_spans(data, where)
    if SIGNATURE_KEY in spans:
        raise PolicyFileError(
            where=where,
            expected="a file without a signature",
            got="one that is signed",
            remedy="export it anew and sign that",
        )
    start, end = spans[FINGERPRINT_KEY]
    unsealed = data[:start] + NO_FINGERPRINT.encode() + data[end:]
    # A protobuf message may be followed by further entries of a list of its own.
    unsigned = seal(unsealed + _metadata_entry(SIGNATURE_KEY, _NO_SIGNATURE), where)
    signature = key.sign(_message(unsigned, where)).hex().encode()
    place = slice(*metadata_spans(unsigned, where)[SIGNATURE_KEY])
    return seal(unsigned[: place.start] + signature + unsigned[place.stop :], where)


def require_signed(file: PolicyFile, keys: Path) -> str:
    """Checks that somebody who is listed has signed a file; returns who, by the name of the key.

    Args:
        file: as read; the very bytes that are checked are those that will be loaded.
        keys: folder of public keys.

    Raises:
        PolicyFileError: no signature, or none by these keys over these bytes.
        MissingError: no key in the folder.
        FormatError: a file there that is no such key.
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
    raise _unsigned(where, keys, "one of another key, or of other contents", "ask whoever exported the file")


def read_secret(path: Path) -> Ed25519PrivateKey:
    """Reads a key to sign with.

    Raises:
        MissingError: no such file.
        FormatError: not such a key, or one that others can read.
    """
    require_private(path)
    try:
        key = load_pem_private_key(path.read_bytes(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise _no_key(path, SIGN_SECRET)
    return key


def read_public(path: Path) -> Ed25519PublicKey:
    """Reads a key to check with; errors as in `read_secret`."""
    try:
        key = load_pem_public_key(path.read_bytes())
    except (OSError, ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise _no_key(path, SIGN_PUBLIC)
    return key


def _message(data: bytes, where: str) -> bytes:
    """What is signed: the fingerprint of the file while its signature is zeros."""
    spans = metadata_spans(data, where)
    start, end = spans[SIGNATURE_KEY]
    blank = data[:start] + b"0" * (end - start) + data[end:]
    return _PURPOSE + fingerprint_of(blank, *spans[FINGERPRINT_KEY]).encode()


def _metadata_entry(key: str, value: str) -> bytes:
    """`metadata_props` of a ModelProto, field 14: a message of key (1) and value (2)."""
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
