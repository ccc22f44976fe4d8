"""A matplotlib figure as PNG, in memory or as a file that is there whole or not at all."""

import io
from pathlib import Path
from typing import TYPE_CHECKING

from odeploy_runtime.atomic_file import write_whole

if TYPE_CHECKING:  # matplotlib is an extra
    from matplotlib.figure import Figure


def png(figure: "Figure", dpi: int = 110) -> bytes:
    """The picture."""
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=dpi)
    return data.getvalue()


def write_png(figure: "Figure", path: Path, dpi: int = 110) -> None:
    """Writes it; see `write_whole`.

    Raises:
        UsageError: the place cannot be written, or the disk is full.
    """
    write_whole(path, png(figure, dpi))
