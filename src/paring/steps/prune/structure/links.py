"""Which channels go together: sets of places, merged where one forces the other (union–find)."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Literal

Place = tuple[str, Literal["in", "out", "element"], int]  # layer, side, channel; or bare tensor, `element`, its number


class Links:
    """Sets of places."""

    def __init__(self) -> None:
        self._parent: dict[Place, Place] = {}

    def join(self, first: Place, *others: Place) -> None:
        """Makes one set of the sets that these places are in."""
        for other in others:
            self._parent[self.top(other)] = self.top(first)
        self.top(first)

    def units(self) -> Iterator[list[Place]]:
        """Every set."""
        found: dict[Place, list[Place]] = defaultdict(list)
        for place in list(self._parent):
            found[self.top(place)].append(place)
        yield from found.values()

    def met(self, name: str) -> list[Place]:
        """The numbers of a bare tensor that go together with something."""
        return [place for place in self._parent if place[0] == name and place[1] == "element"]

    def top(self, place: Place) -> Place:
        """The place that stands for the set that this one is in."""
        self._parent.setdefault(place, place)
        while self._parent[place] != place:
            self._parent[place] = self._parent[self._parent[place]]
            place = self._parent[place]
        return place
