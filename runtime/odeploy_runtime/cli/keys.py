"""`odeploy keys NAME`: a new pair of key files."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from odeploy_runtime.reports.terminal import Terminal
from odeploy_runtime.transport.keys import PUBLIC, SECRET, SIGN_PUBLIC, SIGN_SECRET, new_curve_pair, write_pair


@dataclass(frozen=True)
class Config:
    """Make a pair of keys: a public file for the other side, and a secret one to keep."""

    name: Annotated[Path, tyro.conf.Positional]
    """Path without a suffix: `keys/arm` makes keys/arm.key and keys/arm.key_secret."""
    sign: bool = False
    """Make a pair for signing policy files instead (arm.sign and arm.sign_secret)."""


def main(arguments: list[str]) -> None:
    """Write both files, and print their paths."""
    config, console = tyro.cli(Config, args=arguments, prog="odeploy keys"), Terminal()
    if config.sign:
        from odeploy_runtime.policy_file.signature import new_pair

        suffixes, contents = (SIGN_PUBLIC, SIGN_SECRET), new_pair()
    else:
        suffixes, contents = (PUBLIC, SECRET), new_curve_pair()
    public, secret = (config.name.with_name(config.name.name + suffix) for suffix in suffixes)
    write_pair(public, secret, *contents)
    console.print(f"public, for the other side: {public}", soft_wrap=True, highlight=False)
    console.print(f"secret, stays here: {secret}", soft_wrap=True, highlight=False)
