"""The policy file: one `.onnx` file with a manifest and a fingerprint.

The model holds two metadata entries. `odeploy.manifest` is the JSON of `Manifest`. `odeploy.fingerprint` is the
SHA-256, as 64 hex characters, of the whole file with those 64 characters replaced by zeros.
docs/reference/policy-file.md describes the format for other readers.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from odeploy_runtime.errors import PolicyFileError
from odeploy_runtime.policy_file.manifest import Manifest, parse_manifest
from odeploy_runtime.policy_file.protobuf import metadata_spans
from odeploy_runtime.regular_file import POLICY_BYTES, read_regular

MANIFEST_KEY = "odeploy.manifest"
FINGERPRINT_KEY = "odeploy.fingerprint"
NO_FINGERPRINT = "0" * 64


@dataclass(frozen=True)
class PolicyFile:
    """A policy file whose fingerprint has been checked.

    Attributes:
        path: path of the file.
        manifest: its manifest.
        fingerprint: SHA-256 of its contents, 64 hex characters.
        data: exactly the bytes that were hashed.
    """

    path: Path
    manifest: Manifest
    fingerprint: str
    data: bytes


def read(path: str | Path) -> PolicyFile:
    """Read and check a policy file, before ONNX Runtime opens it.

    Raises:
        PolicyFileError: missing, truncated, changed, of a newer version, or with weights in another file.
    """
    path = Path(path)
    try:
        data = read_regular(path, POLICY_BYTES)
    except OSError as error:
        raise PolicyFileError(
            where=str(path),
            expected="a policy file",
            got=error.strerror or type(error).__name__,
            remedy="give the path of a file written by `odeploy export`",
        ) from None
    return parse(path, data)


def parse(path: Path, data: bytes) -> PolicyFile:
    """Check the bytes of a policy file; see `read`."""
    spans = metadata_spans(data, str(path))
    if MANIFEST_KEY not in spans or FINGERPRINT_KEY not in spans:
        raise PolicyFileError(
            where=str(path),
            expected="an odeploy manifest and fingerprint in the metadata",
            got="an ONNX file without them",
            remedy="export the policy with `odeploy export`",
        )
    start, end = spans[FINGERPRINT_KEY]
    stated, actual = data[start:end].decode("ascii", "replace"), fingerprint_of(data, start, end)
    if stated != actual:
        raise PolicyFileError(
            where=str(path),
            expected=f"contents with fingerprint {stated[:12]}…",
            got=f"{actual[:12]}… (the file has changed since its export)",
            remedy="copy the file again or export it again",
        )
    start, end = spans[MANIFEST_KEY]
    return PolicyFile(path, parse_manifest(data[start:end], str(path)), actual, data)


def fingerprint_of(data: bytes, start: int, end: int) -> str:
    """Return the SHA-256 of `data`.

    The fingerprint's own characters [start, end) count as zeros.
    """
    digest = hashlib.sha256(data[:start])
    digest.update(b"0" * (end - start))
    digest.update(data[end:])
    return digest.hexdigest()


def seal(data: bytes, where: str) -> bytes:
    """Return `data` with its placeholder fingerprint replaced by the real one."""
    start, end = metadata_spans(data, where)[FINGERPRINT_KEY]
    return data[:start] + fingerprint_of(data, start, end).encode("ascii") + data[end:]
