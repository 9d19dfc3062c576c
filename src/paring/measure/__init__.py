"""Measurements: a model or a runner in, numbers with their origin out."""
