"""Pruning: weights, channels, heads and blocks that a network can do without are taken out."""
