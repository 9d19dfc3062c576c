"""What steps that set weights to 0 are made of."""
