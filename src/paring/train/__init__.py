"""Training: the one loop (`loop.fit`), its options (`config.TrainConfig`), accuracy (`evaluate.accuracy`)."""
