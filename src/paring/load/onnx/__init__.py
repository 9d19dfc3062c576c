"""The front door for ONNX files, in the order of the way in.

read (file → graph, all refusals) → inputs (what it takes) → translate (operators → a draft of a blueprint, by the
tables) → rewrite (patterns that exporters took apart become layers again) → runtime (ONNX Runtime proves the result).
"""
