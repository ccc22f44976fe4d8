"""`odeploy figures NAME`: the figures of the documents, each from runs that are there already."""

from dataclasses import asdict, dataclass
from pathlib import Path

import tyro
from rich.console import Console
from rich.table import Table

from train.loop import require_positive
from train.saddle import ROW, both_ways, flow_at_saddle, gaussian_at_saddle, modes, most_balanced


@dataclass(frozen=True)
class FpoConfig:
    """Draws what FPO and a Gaussian policy do at the grid world's saddle, and prints how often they do what."""

    fpo: Path
    """Run of a flow policy on the grid world, by `train fpo`."""
    gaussian: Path
    """Run of `train ppo` on the grid world."""
    out: Path
    """PNG to write."""
    samples: int = 1000
    """Actions of each policy."""
    seed: int = 0
    """Of their noise."""


def fpo(arguments: list[str]) -> None:
    """`odeploy figures fpo`."""
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
    from train.saddle_plots import draw, write  # matplotlib is an extra

    write(draw(flow, gaussian), config.out)
    console.print(f"figure: {config.out}", soft_wrap=True)
