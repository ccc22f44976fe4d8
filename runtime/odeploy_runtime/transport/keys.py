"""Key files: who a server and its robots are on the wire (CURVE), and who signs policy files (Ed25519).

A pair is two files. `NAME.key` or `NAME.sign` is public and is handed to the other side; `NAME.key_secret` or
`NAME.sign_secret` stays with its owner, mode 0600, and is not read when anybody else could. CURVE keys are in
ZeroMQ's own certificate format, signing keys in PEM, so that other tools read them too. `odeploy_runtime.cli.keys`
makes them.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from zmq.auth import load_certificate
from zmq.utils import z85

from odeploy_runtime.errors import FormatError, MissingError

PUBLIC, SECRET = ".key", ".key_secret"
SIGN_PUBLIC, SIGN_SECRET = ".sign", ".sign_secret"
_KEY_CHARACTERS = 40  # 32 bytes in Z85


@dataclass(frozen=True)
class KeyPair:
    """A CURVE key with its secret, both in Z85: 40 characters."""

    public: bytes
    secret: bytes


@dataclass(frozen=True)
class RobotKeys:
    """The files with which a robot meets a server that asks for keys.

    Attributes:
        own: the robot's secret key.
        server: the server's public key, by which the robot knows that it is the right one.
    """

    own: Path
    server: Path


def read_pair(path: Path) -> KeyPair:
    """Reads a secret CURVE key.

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
    """Reads a public CURVE key, 40 characters of Z85; errors as in `read_pair`."""
    return _certificate(path)[0]


def read_allowed(folder: Path) -> dict[bytes, str]:
    """The public keys in a folder: the 32 bytes of each, and the name of its file.

    Raises:
        MissingError: no folder, or no key in it: nobody could connect.
        FormatError: a file that is no key.
    """
    return {z85.decode(read_public(path)): path.stem for path in key_files(folder, PUBLIC, "--allow")}


def key_files(folder: Path, suffix: str, option: str) -> Sequence[Path]:
    """The public keys of a kind in a folder, at least one.

    Raises:
        MissingError: there is none.
    """
    files = sorted(folder.glob(f"*{suffix}"))
    if not files:
        raise MissingError(
            where=f"{option} {folder}",
            expected=f"a folder with at least one public key, NAME{suffix}",
            got="none" if folder.is_dir() else "no folder",
            remedy=f"copy the NAME{suffix} there that `odeploy keys` made on the other side",
        )
    return files


def require_private(path: Path) -> None:
    """Refuses a secret key that is missing or open to others.

    Raises:
        MissingError: no such file.
        FormatError: somebody else can read or write it.
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
        raise _no_key(path, "a file for its owner alone", f"mode {mode & 0o777:04o}", f"run: chmod 600 {path}")


def _certificate(path: Path) -> tuple[bytes, bytes | None]:
    try:
        public, secret = load_certificate(path)
    except (OSError, ValueError) as error:
        raise _no_key(path, "a CURVE key", str(error), "make one with `odeploy keys NAME`") from None
    for key in (public, secret):
        if key is not None and not _is_key(key):
            raise _no_key(path, f"keys of {_KEY_CHARACTERS} characters in Z85", "another", "copy the file again")
    return public, secret


def _is_key(key: bytes) -> bool:
    if len(key) != _KEY_CHARACTERS:
        return False
    try:
        return z85.encode(z85.decode(key)) == key
    except (KeyError, struct.error):  # not of its characters, or beyond 32 bits
        return False


def _no_key(path: Path, expected: str, got: str, remedy: str) -> FormatError:
    return FormatError(where=str(path), expected=expected, got=got, remedy=remedy)
