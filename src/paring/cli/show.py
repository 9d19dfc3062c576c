"""Progress bars and lines on the terminal."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

_LOG_EVERY = 30.0  # seconds


class Shown:
    """A `paring.core.step.Progress` on standard error, so that standard output holds results alone."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)

    @contextmanager
    def bar(self, label: str, total: int) -> Iterator[Callable[[int, str], None]]:
        """A bar with the time left; where standard error is no terminal, a line every half minute."""
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[state]}"),
        )
        with Progress(*columns, console=self._console, transient=True, disable=not self._console.is_terminal) as bars:
            task = bars.add_task(label, total=total, state="")
            told = monotonic()

            def advance(units: int, state: str) -> None:
                nonlocal told
                bars.update(task, advance=units, state=state)
                # where nobody watches a bar move, now and then a line for the log
                if not self._console.is_terminal and state and monotonic() - told > _LOG_EVERY:
                    self._console.print(f"{label}: {state}", markup=False, highlight=False)
                    told = monotonic()

            yield advance

    def note(self, text: str) -> None:
        """One line."""
        self._console.print(text, markup=False, highlight=False)
