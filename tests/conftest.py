"""For every test: properties are never a matter of time."""

from hypothesis import settings

settings.register_profile("paring", deadline=None)
settings.load_profile("paring")
