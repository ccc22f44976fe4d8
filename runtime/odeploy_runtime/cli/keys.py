"""`odeploy keys NAME`: a new pair of keys, each file with its mode from its first moment, never over another."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
import zmq
from rich.console import Console

from odeploy_runtime.errors import UsageError
from odeploy_runtime.transport.keys import PUBLIC, SECRET, SIGN_PUBLIC, SIGN_SECRET


@dataclass(frozen=True)
class Config:
    """Makes a pair of keys: one file to hand around, one to keep."""

    name: Annotated[Path, tyro.conf.Positional]
    """Where, without a suffix: `keys/arm` makes keys/arm.key and keys/arm.key_secret."""
    sign: bool = False
    """Make a pair for signing policy files instead (arm.sign and arm.sign_secret)."""


def main(arguments: list[str]) -> None:
    """Writes both files, and prints where."""
    config, console = tyro.cli(Config, args=arguments, prog="odeploy keys"), Console()
    if config.sign:
        from odeploy_runtime.policy_file.signature import new_pair

        suffixes, contents = (SIGN_PUBLIC, SIGN_SECRET), new_pair()
    else:
        suffixes, contents = (PUBLIC, SECRET), new_curve_pair()
    public, secret = (config.name.with_name(config.name.name + suffix) for suffix in suffixes)
    write_pair(public, secret, *contents)
    console.print(f"public, for the other side: {public}", soft_wrap=True, highlight=False)
    console.print(f"secret, stays here: {secret}", soft_wrap=True, highlight=False)


def new_curve_pair() -> tuple[bytes, bytes]:
    """Contents of a public and a secret key file."""
    public, secret = (key.decode() for key in zmq.curve_keypair())
    shared = f'metadata\ncurve\n    public-key = "{public}"\n'
    return shared.encode(), f'{shared}    secret-key = "{secret}"\n'.encode()


def write_pair(public: Path, secret: Path, public_data: bytes, secret_data: bytes) -> None:
    """Writes a new pair of files, and never over old ones: a lost secret key cannot be had again.

    Raises:
        UsageError: one of the files exists, or the place cannot be written.
    """
    for path in (public, secret):
        if path.exists():
            raise UsageError(
                where=str(path),
                expected="a name that has no key yet",
                got="one that has",
                remedy="choose another name, or move the old key away",
            )
    try:
        public.parent.mkdir(parents=True, exist_ok=True)
        for path, data, mode in ((secret, secret_data, 0o600), (public, public_data, 0o644)):
            # Made with its mode, so that there is no moment at which others could open it.
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
                file.write(data)
    except OSError as error:
        raise UsageError(
            where=str(public.parent),
            expected="a folder that can be written",
            got=error.strerror or type(error).__name__,
            remedy="give another place",
        ) from None
