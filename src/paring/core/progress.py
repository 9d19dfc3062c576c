"""Progress that nobody watches."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Silent:
    """Shows nothing; what API calls use unless they are given a `Progress`."""

    @contextmanager
    def bar(self, label: str, total: int) -> Iterator[Callable[[int, str], None]]:
        """A bar that is not shown."""
        yield lambda units, state: None

    def note(self, text: str) -> None:
        """A line that is not shown."""
