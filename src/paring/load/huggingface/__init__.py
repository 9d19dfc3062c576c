"""Models of `transformers`: `hf:NAME_OR_FOLDER`, or an architecture alone, `hf:MODEL_TYPE(config={…})`."""
