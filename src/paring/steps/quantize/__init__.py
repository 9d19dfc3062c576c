"""Quantization: fewer bits for each number. See the README in this folder."""
