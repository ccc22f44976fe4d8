"""`odeploy inspect FILE`: print the contents of a policy file."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.table import Table
from rich.text import Text

from odeploy_runtime.policy_file.file import read
from odeploy_runtime.policy_file.manifest import Manifest
from odeploy_runtime.printable import printable
from odeploy_runtime.reports.tables import signal_table
from odeploy_runtime.reports.terminal import Terminal
from odeploy_runtime.typed_json import to_json


@dataclass(frozen=True)
class Config:
    """Print a policy file's signals, sampler, parity and provenance."""

    file: Annotated[Path, tyro.conf.Positional]
    """A policy file."""
    json: bool = False
    """Print the manifest as JSON instead of tables."""


def main(arguments: list[str]) -> None:
    """Print a manifest; do not run the graph."""
    config, console = tyro.cli(Config, args=arguments, prog="odeploy inspect"), Terminal()
    file = read(config.file)
    if config.json:
        console.out(to_json(file.manifest), highlight=False, end="")
        return
    m = file.manifest
    size = f"{len(file.data):,} bytes"
    summary = f": {m.method} ({m.kind}) for {m.task} at {m.rate_hz:g} Hz, {size}"
    console.print(Text.assemble((printable(m.name), "bold"), printable(summary)))
    console.print(f"fingerprint {file.fingerprint}", soft_wrap=True)
    console.print(_contract_table(m))
    console.print(signal_table("observation", m.observation))
    console.print(signal_table("action", m.action))
    parity = Table("provider", "max error", "tolerance", "rows", "batches", title="parity at export (unit scale)")
    for p in m.parity:
        parity.add_row(
            p.provider,
            f"{p.max_error:.2e}",
            f"{p.tolerance:.0e}",
            str(p.rows),
            ", ".join(map(str, p.batches)),
        )
    console.print(parity)
    provenance = Table("key", "value", title="provenance")
    for key, value in m.provenance.items():
        provenance.add_row(key, str(value))
    console.print(provenance)


def _contract_table(m: Manifest) -> Table:
    table = Table("contract", "", title="contract")
    table.add_row("solver × steps", m.sampler_label)
    table.add_row("noise", m.noise.mode if m.noise.mode == "none" else f"{m.noise.mode} {m.noise.shape}")
    table.add_row("actions per inference", str(m.horizon))
    if m.state_size:
        table.add_row("state", f"{m.state_size} numbers, zeros at the beginning of an episode")
    if m.frozen is not None:
        table.add_row("real-time chunking", f"the first {m.frozen} actions repeat the previous chunk")
    if m.recipe is not None:
        table.add_row("signals from the robot", ", ".join(m.raw_names))
        if m.recipe.command:
            table.add_row("signals from the operator", ", ".join(m.recipe.command))
    if m.actuation is not None:
        output = "setpoints" if m.actuation.pd is None else "torques by a PD law"
        table.add_row("low-level control", f"{output} at {m.actuation.rate_hz:g} Hz, {m.actuation.interpolation}")
    table.add_row("action", m.action_semantics)
    table.add_row("golden rows", str(len(m.golden)))
    return table
