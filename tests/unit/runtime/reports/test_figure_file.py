"""A figure is a PNG of its size times its resolution."""

import struct
from pathlib import Path

from matplotlib.figure import Figure

from odeploy_runtime.reports.figure_file import png, write_png

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def test_a_png_has_the_figures_size_in_pixels() -> None:
    data = png(Figure(figsize=(2, 1)), dpi=50)
    assert data.startswith(SIGNATURE)
    assert struct.unpack(">II", data[16:24]) == (100, 50)


def test_a_file_has_the_same_bytes(tmp_path: Path) -> None:
    figure = Figure(figsize=(1, 1))
    write_png(figure, tmp_path / "new" / "a.png", dpi=20)
    assert (tmp_path / "new" / "a.png").read_bytes() == png(figure, dpi=20)
