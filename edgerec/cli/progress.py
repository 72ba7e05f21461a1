"""The progress of all long work: a bar on a terminal, and lines elsewhere."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

__all__ = ["progress_bar"]

#: Seconds between two lines about the same step.
_OFTEN = 10.0


@contextlib.contextmanager
def progress_bar(title: str, console: Console) -> Iterator[Callable[[int, int, str], None]]:
    """Show progress, and yield a function that takes (done, total, what).

    A log file or a pipe gets one line per epoch, trial or target, and no bar.
    """
    if not console.is_terminal:
        yield _lines(title, console)
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[what]}", markup=False),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(title, total=None, what="")

        def update(done: int, total: int, what: str) -> None:
            progress.update(task, completed=done, total=total, what=what)

        yield update


def _lines(title: str, console: Console) -> Callable[[int, int, str], None]:
    """Print a line whenever a step is done, and now and then while it is not."""
    began = time.monotonic()
    last: tuple[int, int] | None = None
    said = began

    def update(done: int, total: int, what: str) -> None:
        nonlocal last, said
        now = time.monotonic()
        if (done, total) == last and now - said < _OFTEN:
            return
        last, said = (done, total), now
        text = f"{title}: {done} of {total}, {now - began:.0f} s: {what}"
        console.print(text, highlight=False, soft_wrap=True)

    return update
