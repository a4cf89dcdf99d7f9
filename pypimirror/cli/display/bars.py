"""Progress bars at a terminal: how much is done, how fast, and how much time is left.

Rich draws them. `pypimirror.cli.display.progress` knows what is under way and moves them.
"""

from __future__ import annotations

import math

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, Task, TextColumn
from rich.table import Column
from rich.text import Text

from pypimirror.cli.display.amounts import amount
from pypimirror.cli.display.counts import ProgressCounts
from pypimirror.system import clock

#: A terminal with fewer columns has no room for a bar.
_NARROW = 60


class Done(ProgressColumn):
    """How much is done: things, and bytes if they are counted, as in `3/10  1.0 MiB/5.0 MiB`."""

    def render(self, task: Task) -> Text:
        """Return the text for a task."""
        counts: ProgressCounts = task.fields["counts"]
        text = Text(f"{counts.done}" + (f"/{counts.things}" if counts.things else ""))
        if counts.received:
            of = f"/{amount(counts.size)}" if counts.size > counts.received else ""
            text.append(f"  {amount(counts.received)}{of}")
        if counts.failed:
            text.append(f"  {counts.failed} failed", "yellow")
        return text


class PaceColumn(ProgressColumn):
    """The pace, in bytes or things per second, as the bar counts."""

    max_refresh = 0.5  # seconds; nobody reads faster

    def render(self, task: Task) -> Text:
        """Return the text for a task."""
        counts: ProgressCounts = task.fields["counts"]
        pace = counts.pace(clock.steady())
        if not pace:
            return Text("")
        return Text(f"{amount(pace)}/s" if counts.size else f"{pace:.{int(pace < 10)}f}/s")


class Left(ProgressColumn):
    """The time left at this pace."""

    max_refresh = 0.5

    def render(self, task: Task) -> Text:
        """Return the text for a task."""
        counts: ProgressCounts = task.fields["counts"]
        left = counts.left(clock.steady())
        if left is None:
            return Text("")
        minutes, seconds = divmod(math.ceil(left), 60)
        hours, minutes = divmod(minutes, 60)
        return Text(f"{hours}:{minutes:02}:{seconds:02} left")


def bars(console: Console) -> Progress:
    """Return the bars for a console. Nothing is shown before they are started."""
    whole = Column(no_wrap=True)  # numbers stay on their line; the bar gives way
    columns: list[ProgressColumn] = [TextColumn("{task.description:<9}")]
    if console.width >= _NARROW:
        columns = [
            SpinnerColumn("dots" if console.encoding.lower().startswith("utf") else "line"),
            *columns,
            BarColumn(bar_width=None),
            Done(whole),
            PaceColumn(whole),
            Left(whole),
        ]
    else:
        columns = [*columns, Done(whole), Left(whole)]
    return Progress(*columns, console=console, transient=True, expand=console.width >= _NARROW)
