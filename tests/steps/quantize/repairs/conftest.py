"""The fixture `work` for all tests of repairs."""

from paring.testing.repairs import work

__all__ = ["work"]
