"""`odeploy figures NAME`: figures of the documents, each drawn from existing runs."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from rich.table import Table

from odeploy_runtime.atomic_file import write_whole
from odeploy_runtime.reports.figure_file import write_png
from odeploy_runtime.reports.tables import wide
from odeploy_train.figures.fmer_field import Snapshot, samples_at, snapshot
from odeploy_train.figures.goal_shares import GOALS, Ways, by_method, ways_of
from odeploy_train.figures.grid_world import (
    ROW,
    both_ways,
    flow_at_saddle,
    gaussian_at_saddle,
    modes,
    most_balanced,
)
from odeploy_train.runs.folder import read_card
from odeploy_train.runs.options import require_positive


@dataclass(frozen=True)
class FpoConfig:
    """Draw what FPO and a Gaussian policy do at the grid world's saddle."""

    fpo: Path
    """Run folder of a flow policy on the grid world, by `train fpo`."""
    gaussian: Path
    """Run folder of `train ppo` on the grid world."""
    out: Path
    """PNG file to write."""
    samples: int = 1000
    """Actions per policy."""
    seed: int = 0
    """Seed of the noise."""


def fpo(arguments: list[str]) -> None:
    """Run `odeploy figures fpo`."""
    config, console = tyro.cli(FpoConfig, args=arguments, prog="odeploy figures fpo"), Console()
    require_positive(samples=config.samples)
    flow = flow_at_saddle(config.fpo, config.samples, config.seed)
    gaussian = gaussian_at_saddle(config.gaussian, config.samples, config.seed)
    table = Table(
        "policy", "cell", "up", "down", "still", "two modes", title=f"{config.samples:,} actions in a cell"
    )
    for name, commands in (("FPO", flow.commands), ("Gaussian PPO", gaussian)):
        cell = most_balanced(commands)
        shares = (f"{share:.3f}" for share in asdict(modes(commands[cell])).values())
        table.add_row(
            name, "({:g}, {:g})".format(*ROW[cell]), *shares, f"{both_ways(commands)} of {len(ROW)} cells"
        )
    console.print(table)
    console.print(
        "in the cell of the middle row where it is most balanced; two modes: up and down each above still",
        soft_wrap=True,
    )
    from odeploy_train.figures.grid_world_plots import draw  # matplotlib is an extra

    write_png(draw(flow, gaussian), config.out)
    console.print(f"figure: {config.out}", soft_wrap=True)


@dataclass(frozen=True)
class GoalsConfig:
    """Draw and count the goals that policies reach on multigoal-2d."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Run folders of `train fmer`, `sac`, `qvpo`, `dipo` or `dpmd` on multigoal-2d; seeds form one row."""
    out: Path
    """PNG file to write."""
    results: Path | None = None
    """Write a JSON line per run into this file."""
    episodes: int = 200
    """Episodes per run, with the same starts for all."""
    seed: int = 0
    """Seed of the starts and of the policies' noise."""


def goals(arguments: list[str]) -> None:
    """Run `odeploy figures goals`."""
    config, console = tyro.cli(GoalsConfig, args=arguments, prog="odeploy figures goals"), Console()
    require_positive(runs=len(config.runs), episodes=config.episodes)
    methods = by_method([ways_of(run, config.episodes, config.seed) for run in config.runs])
    wide(console).print(_goals_table(methods, config.episodes))
    if config.results is not None:
        lines = [json.dumps(ways.line(name)) for name, runs in methods.items() for ways in runs]
        write_whole(config.results, "".join(f"{line}\n" for line in lines).encode())
        console.print(f"results: {config.results}", soft_wrap=True)
    from odeploy_train.figures.goal_plots import draw  # matplotlib is an extra

    write_png(draw(methods), config.out)
    console.print(f"figure: {config.out}", soft_wrap=True)


@dataclass(frozen=True)
class FmerConfig:
    """Draw the evolution of an FMER policy on multigoal-2d, and of greedy weights."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Run folders of `train fmer` that differ in --steps only, in any order: stages of the longest run."""
    out: Path
    """PNG file to write."""
    greedy: tuple[Path, ...] = ()
    """The same with an --effective-share just above 1 / --candidates, which selects the best candidate alone."""
    samples: int = 300
    """Actions of the flow per place."""
    episodes: int = 200
    """Episodes per run, for the shares."""
    seed: int = 0
    """Seed of starts and noise."""


def fmer(arguments: list[str]) -> None:
    """Run `odeploy figures fmer`."""
    config, console = tyro.cli(FmerConfig, args=arguments, prog="odeploy figures fmer"), Console()
    require_positive(runs=len(config.runs), samples=config.samples, episodes=config.episodes)
    weighted, greedy = (
        _evolution(runs, config.samples, config.episodes, config.seed) for runs in (config.runs, config.greedy)
    )
    from odeploy_train.figures.fmer_plots import PLACES_M, draw  # matplotlib is an extra

    longest = max(config.runs, key=lambda run: read_card(run).steps)
    answers = samples_at(longest, PLACES_M, config.samples, config.seed)
    write_png(draw(weighted, greedy, answers), config.out)
    console.print(f"figure: {config.out}", soft_wrap=True)


def _evolution(runs: Sequence[Path], samples: int, episodes: int, seed: int) -> list[tuple[Snapshot, Ways]]:
    pairs = [(snapshot(run, samples, seed), ways_of(run, episodes, seed)) for run in runs]
    return sorted(pairs, key=lambda pair: pair[0].card.steps)


def _goals_table(methods: Mapping[str, Sequence[Ways]], episodes: int) -> Table:
    title = f"{episodes} episodes a seed, one raw sample a tick; shares of the goals where they end"
    header = "goals kept", "all four kept", "ways at (0, 0)", "learning, min"
    table = Table("method", "seed", *GOALS, "nowhere", *header, title=title)
    for name, runs in methods.items():
        four = sum(bool(ways.kept.all()) for ways in runs)
        for i, ways in enumerate(runs):
            shares = (f"{share:.2f}" for share in (*ways.shares, (ways.goals < 0).mean()))
            first, last = name if i == 0 else "", f"{four} of {len(runs)} seeds" if i == 0 else ""
            minutes = f"{ways.train_s / 60:.1f}"
            table.add_row(first, str(ways.card.seed), *shares, str(ways.kept.sum()), last, str(ways.ways), minutes)
        table.add_section()
    return table
