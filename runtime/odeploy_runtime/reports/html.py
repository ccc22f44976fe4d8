"""The report: a bench's results as one self-contained HTML page."""

import base64
import html
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from odeploy_runtime.reports.bench_results import BenchRow, read_results
from odeploy_runtime.reports.figure_file import figure_text, png
from odeploy_runtime.reports.tables import LEGEND, floors_table, run_row, runs_table
from odeploy_runtime.trace.reader import read_trace

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.table import Table

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1f2328; }
body { margin: 2rem auto; max-width: 70rem; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 0.85rem; }
th, td { padding: 0.3rem 0.7rem; border-bottom: 1px solid #d0d7de; text-align: right; white-space: pre; }
th:first-child, td:first-child { text-align: left; }
img { max-width: 100%; } .wide { overflow-x: auto; } .note { color: #59636e; font-size: 0.85rem; }
"""


def render(bench: Path) -> str:
    """Return the page of a bench's folder.

    Args:
        bench: folder with bench.json and the traces.

    Raises:
        FormatError: no bench.json, one that does not parse, or a missing trace.
    """
    from odeploy_runtime.reports import plots

    results = read_results(bench / "bench.json")
    rows = results.rows
    runs = [plots.ReportRun(figure_text(_label(row)), row, read_trace(bench / row.trace)) for row in rows]
    paced = [run for run in runs if run.row.mode != "lockstep"] or runs
    table = runs_table("")
    for row in rows:
        table.add_row(*run_row(row))
    machine = ", ".join(f"{key} {value}" for key, value in results.machine.items())
    parts = [
        f"<h1>{html.escape(results.task)}: {len(rows)} runs</h1>",
        f"<p class='note'>{html.escape(machine)}</p>",
        "<h2>Runs</h2>",
        _html_table(table),
        f"<p class='note'>{html.escape(LEGEND)}</p>",
    ]
    if any(row.floors is not None for row in rows):
        floors = floors_table(rows, results.pre_touch)
        parts += [f"<h2>{html.escape(str(floors.title).capitalize())}</h2>", _html_table(floors)]
    for title, figure in (
        ("What the policies achieve, and at what latency", plots.quality_against_latency(paced)),
        ("How latency is distributed", plots.distribution(paced)),
        ("Where a tick's time goes", plots.stage_bars(runs)),
        ("Tick by tick", plots.time_line(paced)),
    ):
        parts += [f"<h2>{title}</h2>", _image(figure, title)]
    parts += ["<h2>Runs</h2>", _run_list(rows)]
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        f"<title>odeploy: {html.escape(results.task)}</title><style>{_STYLE}</style></head>"
        f"<body>{''.join(parts)}</body></html>\n"
    )


def _label(row: BenchRow) -> str:
    rate = "lockstep" if row.mode == "lockstep" else f"{row.rate_hz:g} Hz"
    return " ".join(filter(None, [row.policy, rate, row.transport]))


def _html_table(table: "Table") -> str:
    head = "".join(f"<th>{html.escape(str(column.header))}</th>" for column in table.columns)
    cells = zip(*(list(column.cells) for column in table.columns), strict=True)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(str(c))}</td>" for c in row) + "</tr>" for row in cells)
    return f"<div class='wide'><table><tr>{head}</tr>{body}</table></div>"


def _image(figure: "Figure", title: str) -> str:
    data = base64.b64encode(png(figure)).decode("ascii")
    return f"<img alt='{html.escape(title, quote=True)}' src='data:image/png;base64,{data}'>"


def _run_list(rows: Sequence[BenchRow]) -> str:
    items = []
    for row in rows:
        obtained = ", ".join(f"{key}: {value}" for key, value in row.obtained.items())
        line = (
            f"{_label(row)}: {row.file}, fingerprint {row.fingerprint[:12]}, {row.provider}, "
            f"{'' if row.transport else 'transport not recorded; '}{row.wall_s:.0f} s, "
            f"CPU steal {row.steal_s:.2f} s; {obtained}; trace {row.trace}"
        ) + "; robot and server have different clocks: no stages of the wire" * row.two_clocks
        items.append(f"<li>{html.escape(line)}</li>")
    return f"<ul class='note'>{''.join(items)}</ul>"
