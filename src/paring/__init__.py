"""paring."""
