"""Findings of the doctor: severity, evidence and remedy."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rich.table import Table
from rich.text import Text

from odeploy_runtime.errors import ContractError

Severity = Literal["error", "warning", "note"]
_COLOURS: dict[Severity, str] = {"error": "red", "warning": "yellow", "note": "dim"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, or worth knowing.

    Attributes:
        severity: an error rejects the file; a warning may have a good reason; a note is no fault.
        check: name of the check, such as `dead input`.
        where: the signals concerned, or `file`.
        seen: the evidence, with numbers.
        remedy: what to do now, as an imperative.
    """

    severity: Severity
    check: str
    where: str
    seen: str
    remedy: str


def findings_table(findings: Sequence[Finding]) -> Table:
    """Return a table with one row per finding, the worst first."""
    table = Table("", "check", "where", "seen", "do", title="findings", title_justify="left", show_lines=True)
    for f in worst_first(findings):
        table.add_row(Text(f.severity, _COLOURS[f.severity]), f.check, f.where, f.seen, f.remedy)
    return table


def worst_first(findings: Sequence[Finding]) -> list[Finding]:
    """Sort by severity; equal ones stay in order."""
    order = list(_COLOURS)
    return sorted(findings, key=lambda f: order.index(f.severity))


def require_sound(findings: Sequence[Finding], where: str) -> None:
    """Pass a file with no finding worse than a warning.

    Raises:
        ContractError: there is an error; the message contains the first.
    """
    errors = [f for f in worst_first(findings) if f.severity == "error"]
    if errors:
        first, more = errors[0], len(errors) - 1
        raise ContractError(
            where=f"{where}, {first.check}, {first.where}" + (f" (and {more} more)" if more else ""),
            expected="a file without errors",
            got=first.seen,
            remedy=first.remedy,
        )


def some(names: Sequence[str], most: int = 4) -> str:
    """Return the first few names, and how many more there are."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")
