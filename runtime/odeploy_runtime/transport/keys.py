"""Key files: CURVE keys for connections, Ed25519 keys for signing policy files.

A pair is two files. `NAME.key` or `NAME.sign` is public: copy it to the other side. `NAME.key_secret` or
`NAME.sign_secret` stays with its owner, mode 0600; a secret key that others can read is rejected. CURVE keys use
ZeroMQ's certificate format and signing keys use PEM, so other tools can read them.
"""

import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import zmq
from zmq.auth import load_certificate
from zmq.utils import z85

from odeploy_runtime.errors import FormatError, MissingError, UsageError
from odeploy_runtime.regular_file import TEXT_BYTES, require_regular

PUBLIC, SECRET = ".key", ".key_secret"
SIGN_PUBLIC, SIGN_SECRET = ".sign", ".sign_secret"
_KEY_CHARACTERS = 40  # 32 bytes in Z85


@dataclass(frozen=True)
class KeyPair:
    """A public CURVE key with its secret, 40 characters of Z85 each."""

    public: bytes
    secret: bytes


@dataclass(frozen=True)
class RobotKeys:
    """Key files of a robot that connects to a server with keys.

    Attributes:
        own: the robot's secret key.
        server: the server's public key, which authenticates the server.
    """

    own: Path
    server: Path


def robot_keys(own: Path | None, server: Path | None) -> RobotKeys | None:
    """Return the key files of the options `--key` and `--server-key`.

    Return None without both.

    Raises:
        UsageError: only one of them is given.
    """
    if own is None and server is None:
        return None
    if own is None or server is None:
        raise UsageError(
            where="--key, --server-key",
            expected="both, for a server that was started with --key; or none",
            got="one of them",
            remedy="give for example --key keys/arm.key_secret --server-key keys/server.key",
        )
    return RobotKeys(own, server)


def read_pair(path: Path) -> KeyPair:
    """Read a secret CURVE key.

    Raises:
        MissingError: no such file.
        FormatError: not a secret key, or one that others can read.
    """
    require_private(path)
    public, secret = _certificate(path)
    if secret is None:
        raise _no_key(path, "a secret key", "a public one", f"give the file that ends in {SECRET}")
    return KeyPair(public, secret)


def read_public(path: Path) -> bytes:
    """Read a public CURVE key, 40 characters of Z85; errors as in `read_pair`."""
    return _certificate(path)[0]


def read_allowed(folder: Path) -> dict[bytes, str]:
    """Read the public keys of a folder: 32 bytes each -> name of the file.

    Raises:
        MissingError: no folder, or no key in it: no robot could connect.
        FormatError: a file that is not a key.
    """
    return {z85.decode(read_public(path)): path.stem for path in key_files(folder, PUBLIC, "--allow")}


def key_files(folder: Path, suffix: str, option: str) -> Sequence[Path]:
    """Return the public key files of a folder, at least one.

    Args:
        folder: folder of the keys.
        suffix: `.key` or `.sign`.
        option: the command-line option that named the folder, for messages.

    Raises:
        MissingError: no such file.
    """
    files = sorted(folder.glob(f"*{suffix}"))
    if not files:
        raise MissingError(
            where=f"{option} {folder}",
            expected=f"a folder with at least one public key, NAME{suffix}",
            got="none" if folder.is_dir() else "no folder",
            remedy=f"copy NAME{suffix}, made by `odeploy keys` on the other side, to this folder",
        )
    return files


def require_private(path: Path) -> None:
    """Check that a secret key exists and is closed to others.

    Raises:
        MissingError: no such file.
        FormatError: other users can read or write it.
    """
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise MissingError(
            where=str(path),
            expected="a secret key",
            got=error.strerror or type(error).__name__,
            remedy="make one with `odeploy keys NAME`",
        ) from None
    if mode & 0o077:
        raise _no_key(
            path, "a file readable by its owner only", f"mode {mode & 0o777:04o}", f"run: chmod 600 {path}"
        )


def new_curve_pair() -> tuple[bytes, bytes]:
    """Return the contents of a new public and a new secret key file."""
    public, secret = (key.decode() for key in zmq.curve_keypair())
    shared = f'metadata\ncurve\n    public-key = "{public}"\n'
    return shared.encode(), f'{shared}    secret-key = "{secret}"\n'.encode()


def write_pair(public: Path, secret: Path, public_data: bytes, secret_data: bytes) -> None:
    """Write a new pair of files, never over old ones.

    A lost secret key cannot be restored.

    Raises:
        UsageError: one of the files exists, or the folder cannot be written.
    """
    for path in (public, secret):
        if path.exists():
            raise UsageError(
                where=str(path),
                expected="a name without a key",
                got="one with a key",
                remedy="choose another name, or move the old key away",
            )
    made: list[Path] = []
    try:
        public.parent.mkdir(parents=True, exist_ok=True)
        for path, data, mode in ((secret, secret_data, 0o600), (public, public_data, 0o644)):
            _write_new(path, data, mode)
            made.append(path)
    except OSError as error:
        for path in made:  # a secret key without its public one would block the next attempt
            path.unlink(missing_ok=True)
        raise UsageError(
            where=str(public.parent),
            expected="a folder that can be written",
            got=error.strerror or type(error).__name__,
            remedy="free some space or give another path, and repeat the command",
        ) from None


def _write_new(path: Path, data: bytes, mode: int) -> None:
    """Write a file that appears whole or not at all, and replaces none.

    It is created with its mode, so that others cannot open it at any moment.
    """
    partial = path.with_name(f".{path.name}.partial")
    partial.unlink(missing_ok=True)
    try:
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        path.hardlink_to(partial)
    finally:
        partial.unlink(missing_ok=True)


def _certificate(path: Path) -> tuple[bytes, bytes | None]:
    try:
        require_regular(path, TEXT_BYTES)
        public, secret = load_certificate(path)
    except (OSError, ValueError) as error:
        got = getattr(error, "strerror", None) or str(error)
        raise _no_key(path, "a CURVE key", got, "make one with `odeploy keys NAME`") from None
    for key in (public, secret):
        if key is not None and not _is_key(key):
            raise _no_key(
                path, f"keys of {_KEY_CHARACTERS} characters in Z85", "other text", "copy the file again"
            )
    return public, secret


def _is_key(key: bytes) -> bool:
    if len(key) != _KEY_CHARACTERS:
        return False
    try:
        return z85.encode(z85.decode(key)) == key
    except (KeyError, struct.error):  # characters outside Z85, or beyond 32 bits
        return False


def _no_key(path: Path, expected: str, got: str, remedy: str) -> FormatError:
    return FormatError(where=str(path), expected=expected, got=got, remedy=remedy)
