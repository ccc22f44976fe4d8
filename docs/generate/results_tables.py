"""The sweeps' tables in docs/results.md, from the committed results.

A table that follows a command `odeploy table RESULTS... --markdown` is replaced by what the command prints, and so
are the footnotes below it. The text stays.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from odeploy_train.sweeps.table import markdown, read

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/results.md"
_COMMAND = re.compile(r"^odeploy table ((?:results/\S+\.jsonl ?)+)(.*--markdown.*)$", re.MULTILINE)
_TABLE = re.compile(r"^\| method \| [^\n]*\[95 %\][^\n]*\n\| ---(?:[^\n]+\n)+(?:\n[†‡][^\n]*\n)?", re.MULTILINE)


def written(page: str) -> str:
    """Return the page with the tables that its commands print now."""
    parts, end = [], 0
    commands = list(_COMMAND.finditer(page))
    for command, following in zip(commands, [*commands[1:], None], strict=True):
        section_end = len(page) if following is None else following.start()
        made = _made(command)
        for place in _TABLE.finditer(page, command.end(), section_end):
            table = next(made, None)
            if table is None:
                break
            parts += [page[end : place.start()], table]
            end = place.end()
    return "".join([*parts, page[end:]])


def _made(command: re.Match[str]) -> Iterator[str]:
    measured = read(ROOT / path for path in command[1].split())
    for task in dict.fromkeys(line["task"] for line in measured):
        of_task = [line for line in measured if line["task"] == task]
        yield markdown(task, of_task, late="--late" in command[2]).partition("\n\n")[2]


def main() -> None:
    """Write the tables."""
    PAGE.write_text(written(PAGE.read_text()))


if __name__ == "__main__":
    main()
