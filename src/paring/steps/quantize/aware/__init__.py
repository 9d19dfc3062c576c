"""Quantization-aware training: a network that rounds in every forward pass as its file will, and learns around it."""
