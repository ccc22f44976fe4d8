"""A terminal for names from policy files, traces and messages."""

from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskProgressColumn, TimeRemainingColumn
from rich.text import Text

from odeploy_runtime.printable import printable


class Terminal(Console):
    """A console on stdout that prints every string as it is.

    Tags such as `[red]` are no markup, `:smile:` is no emoji, and unprintable characters become `?`.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """Return a string as text; all of rich's parts that print a string call this."""
        return super().render_str(printable(text, keep="\n"), **options)


class Label(ProgressColumn):
    """The description of a task in a progress display, as it is."""

    def render(self, task: Task) -> Text:
        """Return the description as text."""
        return Text(printable(task.description))


def progress_bars(console: Console, **options: Any) -> Progress:
    """Return a display of labels, bars, shares done and times remaining."""
    columns = Label(), BarColumn(), TaskProgressColumn(), TimeRemainingColumn()
    return Progress(*columns, console=console, **options)
