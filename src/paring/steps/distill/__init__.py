"""Distillation: a smaller network learns what a larger one answers."""
