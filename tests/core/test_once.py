"""What is asked of a model several times is found once, where that is said."""

from paring.core.once import known, once
from paring.testing.models import tiny


def test_it_is_found_once_inside_and_anew_outside() -> None:
    model, other, found = tiny(), tiny(), []

    def find() -> int:
        found.append(1)
        return len(found)

    assert [known("it", model, find) for _ in range(2)] == [1, 2]
    with once():
        assert [known("it", model, find) for _ in range(3)] == [3, 3, 3]
        assert known("it", other, find) == 4
        assert known("another", model, find) == 5
    assert known("it", model, find) == 6
