"""Sizes are written and read with their units."""

import pytest

from paring.core.units import size, written


@pytest.mark.parametrize(
    ("text", "bytes_"), [("4 GiB", 2**32), ("8 MB", 8_000_000), ("13.5 MiB", 14155776), ("264KiB", 270336), ("1 B", 1)]
)
def test_a_size_is_read(text: str, bytes_: int) -> None:
    assert size(text) == bytes_


@pytest.mark.parametrize("text", ["4", "4 ms", "-1 KiB", "0 B", "0.5 B", "1e999 GB", "1.2.3 MB", "", 4, None])
def test_what_is_no_size_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="is no size"):
        size(text)


@pytest.mark.parametrize(
    ("bytes_", "text"),
    [(812, "812 B"), (1024, "1.00 KiB"), (626_688, "612 KiB"), (3_607_101, "3.44 MiB"), (2**34, "16.0 GiB")],
)
def test_a_size_is_written_to_three_digits(bytes_: int, text: str) -> None:
    assert written(bytes_) == text
