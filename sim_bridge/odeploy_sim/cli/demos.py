"""`odeploy demos show PATH`: a demonstration set's card and episodes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.table import Table

from odeploy_runtime.errors import UsageError
from odeploy_runtime.reports.figure_file import write_png
from odeploy_runtime.reports.terminal import Terminal
from odeploy_sim.demonstrations.card import Card, read_card
from odeploy_sim.demonstrations.dataset import Demonstrations, load, stored_task
from odeploy_sim.own_tasks.named import named
from odeploy_sim.own_tasks.reference import resolve
from odeploy_sim.tasks.task import Task


@dataclass(frozen=True)
class Config:
    """Print the card of a demonstration set, and draw its episodes."""

    set: Annotated[str, tyro.conf.Positional]
    """Folder of a set, or Minari id."""
    task: str | None = None
    """Task of the set, if it is not catalogued: file.py:NAME, file.toml, gym:ID or module:NAME. A set of another
    program names none."""
    out: Path | None = None
    """Picture of the episodes to write, such as `demos.png`."""


def main(arguments: list[str]) -> None:
    """Print and draw one set."""
    config, console = tyro.cli(Config, args=arguments, prog="odeploy demos show"), Terminal()
    task = _task(config)
    demonstrations, card = load(config.set, task), read_card(Path(config.set))
    title, rows = f"demonstrations {Path(config.set).name}", measured(demonstrations)
    if card is not None:
        rows |= stated(card, demonstrations)
    table = Table("task", task.name, title=title)
    for key, value in rows.items():
        table.add_row(key, value)
    console.print(table)
    if card is None:
        console.print("no card: `odeploy collect` writes one, and this set has another source")
    if config.out is not None:
        from odeploy_sim.demonstrations.plots import draw  # matplotlib is an extra

        write_png(draw(title, task, demonstrations), config.out)
        console.print(f"picture: {config.out}", soft_wrap=True)


def _task(config: Config) -> Task:
    stored = stored_task(config.set)
    if stored is not None:
        return named(stored, config.task)
    if config.task is None:
        raise UsageError(
            where=f"demonstrations {config.set}",
            expected="a set that names its task",
            got="one that does not",
            remedy="name it with --task",
        )
    return resolve(config.task)


def measured(demonstrations: Demonstrations) -> dict[str, str]:
    """Return figures measured on the data, as text by name."""
    lengths, returns, successes = demonstrations.lengths, demonstrations.returns, demonstrations.successes
    return {
        "episodes": f"{len(lengths):,} of {lengths.min()} to {lengths.max()} ticks",
        "transitions": f"{lengths.sum():,}",
        "return": f"{returns.mean():.2f} ± {returns.std():.2f}, {returns.min():.2f} to {returns.max():.2f}",
        "success": "not recorded" if successes is None else f"{successes.mean():.3f}",
        "data hash": demonstrations.data_hash,
    }


def stated(card: Card, demonstrations: Demonstrations) -> dict[str, str]:
    """Return what the card states, and whether the data still have its hash."""
    same = card.data_hash == demonstrations.data_hash
    return {
        "success": "scored by the return" if card.success is None else f"{card.success:.3f}",
        "quality": card.quality,
        "goals": card.goals,
        "noise level": f"{card.noise_level:g}",
        "not included": f"{card.invalid_dropped} broken, "
        + (f"{card.failures_dropped} failed" if card.successes_only else "failures are included"),
        "expert": f"{card.expert.name} ({card.expert.kind})",
        "fingerprint": card.expert.fingerprint,
        "seed": str(card.seed),
        "data hash": demonstrations.data_hash + ("" if same else f", but the card has {card.data_hash}"),
        "versions": ", ".join(f"{package} {version}" for package, version in card.versions.items()),
        "processor": card.processor,
    }
