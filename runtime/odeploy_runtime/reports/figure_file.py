"""Matplotlib figures as PNG, in memory or as an atomically written file."""

import io
from pathlib import Path
from typing import TYPE_CHECKING

from odeploy_runtime.atomic_file import write_whole
from odeploy_runtime.printable import printable

if TYPE_CHECKING:  # matplotlib is an extra
    from matplotlib.figure import Figure


def png(figure: "Figure", dpi: int = 110) -> bytes:
    """Return the figure as PNG."""
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=dpi)
    return data.getvalue()


def write_png(figure: "Figure", path: Path, dpi: int = 110) -> None:
    """Write the figure as PNG, atomically.

    Raises:
        UsageError: the path cannot be written, or the disk is full.
    """
    write_whole(path, png(figure, dpi))


def figure_text(text: str) -> str:
    """Return a name from a file as printable text of a figure, not as a formula."""
    return printable(text).replace("$", r"\$")
