"""Models of the `transformers` library: `hf:NAME_OR_FOLDER`, and `hf:MODEL_TYPE(config={…})` for an architecture alone."""
