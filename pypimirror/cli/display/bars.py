"""What progress looks like at a terminal: how much is done, how fast, and how long it still takes.

Drawn by Rich, for `pypimirror.cli.display.progress`, which alone knows what is under way.
"""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, Task, TextColumn
from rich.table import Column
from rich.text import Text

from pypimirror.cli.display.amounts import amount
from pypimirror.cli.display.counts import Counts

#: Columns of a terminal below which there is no room for a bar.
_NARROW = 60


class Done(ProgressColumn):
    """How much is done, and of how much: things, and bytes where they are counted."""

    def render(self, task: Task) -> Text:
        """Return it for a task."""
        counts: Counts = task.fields["counts"]
        text = Text(f"{counts.done}" + (f"/{counts.things}" if counts.things else ""))
        if counts.received:
            of = f"/{amount(counts.size)}" if counts.size > counts.received else ""
            text.append(f"  {amount(counts.received)}{of}")
        if counts.failed:
            text.append(f"  {counts.failed} failed", "yellow")
        return text


class Pace(ProgressColumn):
    """How fast it goes, in what the bar counts."""

    def render(self, task: Task) -> Text:
        """Return it for a task."""
        speed = task.finished_speed or task.speed
        if not speed:
            return Text("")
        return Text(f"{amount(speed)}/s" if task.fields["counts"].size else f"{speed:.0f}/s")


class Left(ProgressColumn):
    """How long it still takes, going on as it does."""

    max_refresh = 0.5  # faster, nobody could read it

    def render(self, task: Task) -> Text:
        """Return it for a task."""
        if task.finished or task.time_remaining is None:
            return Text("")
        minutes, seconds = divmod(int(task.time_remaining), 60)
        hours, minutes = divmod(minutes, 60)
        return Text(f"{hours}:{minutes:02}:{seconds:02} left")


def bars(console: Console) -> Progress:
    """Return the bars, none of them shown yet."""
    whole = Column(no_wrap=True)  # numbers stay on their line; the bar gives way
    columns: list[ProgressColumn] = [TextColumn("{task.description:<9}")]
    if console.width >= _NARROW:
        columns = [
            SpinnerColumn("dots" if console.encoding.lower().startswith("utf") else "line"),
            *columns,
            BarColumn(bar_width=None),
            Done(whole),
            Pace(whole),
            Left(whole),
        ]
    else:
        columns = [*columns, Done(whole), Left(whole)]
    return Progress(*columns, console=console, transient=True, expand=console.width >= _NARROW)
