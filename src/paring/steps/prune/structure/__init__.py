"""What steps that make a network smaller in shape are made of."""
